"""Memory of a process that trains and scores on a CPU."""

import re
import subprocess
import sys
from pathlib import Path

import lightning as L
import pytest
import torch
from processes import finish, start

from alphazoo.allocator import grants_huge_pages, keep_few_primitives, keep_freed_memory
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
        concepts=(torch.arange(n_stocks)[:, None] % 10 == torch.arange(10)).float(),
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


def _compute(name: str, days: int, training: bool, file: Path) -> None:
    """Write the peak of memory after many days, relative to that after a few."""
    torch.set_num_threads(1)
    keep_freed_memory()
    keep_few_primitives()
    model = instantiate(compose(f"model={name}").model).train(training)
    model.trainer = L.Trainer(logger=False, enable_checkpointing=False)
    model.build_memory([make_day(row, 200, window=60) for row in range(20)])
    peaks = []
    with torch.inference_mode(not training):
        for row in range(days):
            day = make_day(row, 200 + 7 * row % 100, window=60)
            if training:
                model.loss(day).backward()
            else:
                model.test_step(day, row)
            if row in (days // 6, days - 1):
                status = Path("/proc/self/status").read_text()
                peaks.append(int(re.search(r"VmHWM:\s+(\d+)", status)[1]))
    file.write_text(str(peaks[1] / peaks[0]))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "name",
    ["alstm", "gats", "gru", "hist", "igmtf", "localformer", "lstm", "sfm", "tcn", "transformer"],
)
def test_memory_does_not_grow_with_the_days(name: str, training: bool, tmp_path: Path) -> None:
    """Without huge pages, the convolutions of a TCN leave gaps."""
    kept = not grants_huge_pages()
    if kept and (training or name not in ("gru", "tcn")):
        pytest.skip("the system has no huge pages")
    assert finish(start(_compute, name, 300, training, tmp_path / "growth"), seconds=600) == 0
    limit = 1.2 if kept and name == "tcn" else 1.05
    assert float((tmp_path / "growth").read_text()) < limit
