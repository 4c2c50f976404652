"""Fraction of a sweep's time that is not training, for 12 short jobs that run one after the other.

    python tests/benchmarks/sweep.py [trainer.max_epochs=2] [any other override]

Training is the time in Lightning's Trainer: fit, and scoring of validation and test days. The rest
is start-up, composing configs, reading data, the backtest, the report and the table.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

START = time.perf_counter()

import lightning as L  # noqa: E402

from alphazoo.cli import main  # noqa: E402

spent = 0.0


def timed(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        global spent
        start = time.perf_counter()
        try:
            return method(*arguments, **options)
        finally:
            spent += time.perf_counter() - start

    return call


for name in ("fit", "validate", "test"):
    setattr(L.Trainer, name, timed(getattr(L.Trainer, name)))
with tempfile.TemporaryDirectory() as folder:
    told = ["trainer.max_epochs=2", "trainer.enable_progress_bar=false", *sys.argv[1:]]
    combined = ["model=gru,lstm,alstm", "seed=0,1,2,3", f"hydra.sweep.dir={folder}"]
    sys.argv = ["alphazoo", "train", "-m", *combined, *told]
    main()
wall = time.perf_counter() - START
print(f"{wall:.1f} s, of which {spent:.1f} s are training: {1 - spent / wall:.1%} is not training")
