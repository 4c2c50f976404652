"""Seconds per epoch with one process and with two, one thread each.

    python tests/benchmarks/processes.py [OVERRIDE ...]

An epoch covers the training and the validation days. The time of a run with one epoch is subtracted
from that of a run with several, so that start-up does not count.
"""

import os
import subprocess
import sys
import tempfile
import time

EPOCHS = 5
PROCESSES = {"one process": ["trainer=cpu"], "two processes": ["trainer=ddp", "trainer.devices=2"]}


def seconds(epochs: int, overrides: list[str]) -> float:
    """Return the seconds of a whole run without report."""
    told = [
        *("trainer.accelerator=cpu", f"trainer.max_epochs={epochs}", "patience=100"),
        *("trainer.enable_progress_bar=false", "report=false"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "alphazoo", "train", *overrides, *told]
        start = time.perf_counter()
        subprocess.run(
            [*command, f"hydra.run.dir={folder}/run"],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return time.perf_counter() - start


def main() -> None:
    """Print the seconds and their ratio."""
    found = {}
    for name, devices in PROCESSES.items():
        told = [*devices, *sys.argv[1:]]
        found[name] = (seconds(EPOCHS, told) - seconds(1, told)) / (EPOCHS - 1)
        print(f"{name}: {found[name]:.2f} s per epoch")
    print(f"ratio: {found['two processes'] / found['one process']:.2f}")


if __name__ == "__main__":
    main()
