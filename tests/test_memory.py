"""Memory of a process that trains and scores on a CPU."""

import re
import subprocess
import sys
from pathlib import Path

import lightning as L
import pytest
import torch
from processes import finish, start

from alphazoo.allocator import keep_few_primitives, keep_freed_memory
from alphazoo.config import compose, instantiate
from alphazoo.data.days import DayBatch
from alphazoo.metrics import BLOCK, ScoreTable

COUNT = """
import resource
from types import SimpleNamespace
import torch
from alphazoo.allocator import KeepFreedMemory

torch.set_num_threads(1)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for size in range(2_000_000, 3_000_000, 100_000):  # days of other sizes
        torch.ones(size)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

for device in ("meta", "cpu"):  # on meta it leaves the library as it is
    strategy = SimpleNamespace(root_device=torch.device(device))
    KeepFreedMemory().setup(SimpleNamespace(strategy=strategy), None, "fit")
    faults()
    print(faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="about the GNU C library")
@pytest.mark.thorough
def test_later_days_need_no_new_pages() -> None:
    command = [sys.executable, "-c", COUNT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after < before / 4


def make_day(row: int, n_stocks: int, window: int = 1) -> DayBatch:
    values = torch.randn(n_stocks)
    return DayBatch(
        features=torch.randn(window, n_stocks, 6).transpose(0, 1),
        labels=values,
        returns=values,
        stocks=torch.arange(n_stocks),
        concepts=torch.empty(n_stocks, 0),
        date=torch.tensor(row),
        market=torch.empty(0),
    )


def test_days_share_a_block_of_the_score_table() -> None:
    table = ScoreTable()
    for row in range(300):
        table.update(make_day(row, 200), torch.ones(200))
    assert [len(block) for block in table.date] == [BLOCK]  # 60,000 of 65,536 rows
    table.update(make_day(300, 7_000), torch.ones(7_000))
    table.update(make_day(301, 2 * BLOCK), torch.ones(2 * BLOCK))
    assert [len(block) for block in table.date] == [BLOCK, BLOCK, 2 * BLOCK]
    assert table.compute().groupby("date").size().tolist() == 300 * [200] + [7_000, 2 * BLOCK]


def _score(name: str, days: int, file: Path) -> None:
    """Write the peak of memory after many days, relative to that after a few."""
    torch.set_num_threads(1)
    keep_freed_memory()
    keep_few_primitives()
    model = instantiate(compose(f"model={name}").model).eval()
    model.trainer = L.Trainer(logger=False, enable_checkpointing=False)
    peaks = []
    with torch.inference_mode():
        for row in range(days):
            model.test_step(make_day(row, 200 + 7 * row % 100, window=60), row)
            if row in (days // 6, days - 1):
                status = Path("/proc/self/status").read_text()
                peaks.append(int(re.search(r"VmHWM:\s+(\d+)", status)[1]))
    file.write_text(str(peaks[1] / peaks[0]))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
@pytest.mark.parametrize(("name", "growth"), [("gru", 1.05), ("tcn", 1.2)])
def test_memory_does_not_grow_with_the_days_that_are_scored(
    name: str, growth: float, tmp_path: Path
) -> None:
    """TCN grows by a half and more where oneDNN keeps an operation for every number of stocks."""
    assert finish(start(_score, name, 300, tmp_path / "growth")) == 0
    assert float((tmp_path / "growth").read_text()) < growth
