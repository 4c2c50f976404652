"""Time and peak memory until the first training step, and until the third.

    python tests/benchmarks/startup.py data=qlib data.path=FOLDER
    python tests/benchmarks/startup.py data.n_days=4000 data.n_stocks=5000 data.n_sectors=50 \
        "data.train=[2015, 2024]" "data.valid=[2025, 2026]" "data.test=[2027, null]"
"""

import resource
import sys
import time
from pathlib import Path

from alphazoo.commands.importing import importing


def since_start() -> float:
    """Return the seconds since the process started, including Python's own imports."""
    ticks = float(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return uptime - ticks / 100


def report(what: str) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:<28} {since_start():7.1f} s   peak {peak:6.0f} MB", flush=True)


def main() -> None:
    with importing():
        import lightning as L

        from alphazoo import MarketDataModule, StockModel, compose, instantiate

    report("imports")

    class FirstSteps(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
            if trainer.global_step == 1:
                report("first training step")

    config = compose(*sys.argv[1:])
    data: MarketDataModule = instantiate(config.datamodule)
    data.setup()
    report("market, labels, segments")
    start = time.perf_counter()
    days = data.days("train")
    report("scaling statistics")
    print(f"  fitted in {time.perf_counter() - start:.1f} s on {len(days)} training days")
    model: StockModel = instantiate(config.model)
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=3,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[FirstSteps()],
    )
    trainer.fit(model, data)
    report("third training step")
    print(
        f"  {len(data.market.dates)} days x {len(data.market.symbols)} stocks, "
        f"{len(days[0].stocks)} stocks on the first training day"
    )


main()
