"""Freed memory stays with a process that trains on a CPU."""

import subprocess
import sys

import pytest

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
def test_later_days_need_no_new_pages() -> None:
    command = [sys.executable, "-c", COUNT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after < before / 4
