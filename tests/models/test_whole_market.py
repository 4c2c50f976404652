"""Memory of a training step on the day of a whole market, in a process of its own."""

import subprocess
import sys

import pytest
from conftest import EXPERIMENTS

from alphazoo.config import compose

N_STOCKS, N_CONCEPTS = 5000, 100
NETWORKS = [name for name in EXPERIMENTS if not name.endswith("lightgbm")]
LIMIT = 4e6  # KiB

STEP = """
import resource, sys, torch
from alphazoo.config import compose, instantiate
from alphazoo.data.days import DayBatch
torch.manual_seed(0)
n, k, *overrides = sys.argv[1:]
n, k = int(n), int(k)
config = compose(*overrides)
model = instantiate(config.model)
model.criterion = instantiate(config.loss)
day = DayBatch(
    features=torch.randn(n, config.features.window, len(config.features.columns)),
    labels=torch.randn(n), returns=torch.randn(n), stocks=torch.arange(n),
    concepts=(torch.arange(n)[:, None] % k == torch.arange(k)).float(),
    date=torch.tensor(0), market=torch.randn(21 * len(config.data.indices)),
)
model.build_memory([day] * 10)
model.loss(day).backward()
without = {name for name, p in model.named_parameters() if p.grad is None}
assert not without or model.is_pretraining, without  # then, the router of TRA does not learn
assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.parametrize("settings", [*NETWORKS, "alpha158_rsr model.strength=explicit"])
def test_a_day_of_5000_stocks_trains_within_4_gb(settings: str) -> None:
    overrides = f"experiment={settings}".split()
    known = compose(*overrides).model
    sizes = {"n_stocks": N_STOCKS, "n_concepts": N_CONCEPTS}
    overrides += [f"model.{name}={size}" for name, size in sizes.items() if name in known]
    overrides += ["data.indices=[A,B,C]"] * ("n_market" in known)
    command = [sys.executable, "-c", STEP, str(N_STOCKS), str(N_CONCEPTS), *overrides]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    print(f"{settings}: {int(found.stdout) / 2**20:.1f} GiB")
    assert int(found.stdout) < LIMIT
