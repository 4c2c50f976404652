"""Compute Alpha158 of growing synthetic markets into the store, then train a GRU on its sequences.

    python tests/benchmarks/sizes.py OUT [--largest 10] [--days 30]

Writes ``sizes.csv`` and ``sizes.png`` into OUT, which also holds the features during the run: up to
6.3 GB for ``--largest 10`` million stocks x days. Linux only. Each size runs in a separate process;
memory is the peak of that process, without the pages of mapped files.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

SIZES = ((500, 1000), (1000, 1000), (1000, 2000), (2000, 2000), (2000, 4000), (2500, 4000))
SIZES += ((5000, 4000),)


class Memory(threading.Thread):
    """Records the peak of the process's anonymous memory."""

    peak = 0.0  # GB

    def run(self) -> None:
        while True:
            status = Path("/proc/self/status").read_text()
            anonymous = next(line for line in status.splitlines() if line.startswith("RssAnon"))
            self.peak = max(self.peak, int(anonymous.split()[1]) / 1e6)
            time.sleep(0.02)


def measure(stocks: int, days: int, out: Path, train_days: int) -> dict[str, float]:
    import torch

    from alphazoo import MarketDataModule, StockModel, compose, instantiate
    from alphazoo.losses.pointwise import MSE

    memory = Memory(daemon=True)
    memory.start()
    overrides = [f"data.n_days={days}", f"data.n_stocks={stocks}", "data.n_sectors=10"]
    overrides += [f"features.cache={out}", "data.concepts=null"]
    config = compose(*overrides, "features=alpha158")
    market = instantiate(config.data.market)()
    start = time.perf_counter()
    instantiate(config.features).bind(market)
    found = {"stocks": stocks, "days": days, "seconds": time.perf_counter() - start}
    found["GB"] = memory.peak

    cuts = [f"{market.dates[days * part // 10]:%Y-%m-%d}" for part in (0, 7, 8, 9)]
    config = compose(
        *overrides,
        "features=alpha158_seq",
        f"data.train=['{cuts[0]}', '{cuts[1]}']",
        f"data.valid=['{cuts[2]}', '{cuts[3]}']",
        f"data.test=['{market.dates[days * 9 // 10 + 1]:%Y-%m-%d}', null]",
    )
    data: MarketDataModule = instantiate(config.datamodule, market=market)
    batches = data.days("train")
    model: StockModel = instantiate(config.model)
    optimizer = torch.optim.Adam(model.parameters(), lr=model.lr)
    start = time.perf_counter()
    for index in torch.randperm(len(batches))[:train_days].tolist():
        day = batches[index]
        MSE()(model(day), day.labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    found["GRU, seconds a day"] = (time.perf_counter() - start) / train_days
    found["GRU, GB"] = memory.peak
    return found


def plot(rows: list[dict[str, float]], file: Path) -> None:
    from matplotlib.figure import Figure

    sizes = [row["stocks"] * row["days"] / 1e6 for row in rows]
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(sizes, [row["seconds"] for row in rows], "o-")
    axes.set(xlabel="million stocks x days", ylabel="seconds", title="Alpha158 into the store")
    axes.set(xlim=(0, None), ylim=(0, None))
    figure.savefig(file, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--largest", type=float, default=10, help="million stocks x days")
    parser.add_argument("--days", type=int, default=30, help="number of days to train the GRU on")
    parser.add_argument("--one", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one, options.out, options.days)))
        return
    rows = []
    for stocks, days in SIZES:
        if stocks * days > options.largest * 1e6:
            continue
        with tempfile.TemporaryDirectory(dir=options.out) as folder:
            command = [sys.executable, __file__, folder, "--one", str(stocks), str(days)]
            result = subprocess.run(
                [*command, "--days", str(options.days)], capture_output=True, text=True
            )
        if result.returncode:
            sys.exit(result.stderr)
        rows.append(json.loads(result.stdout.splitlines()[-1]))
        print("  ".join(f"{name} {value:.5g}" for name, value in rows[-1].items()), flush=True)
    with (options.out / "sizes.csv").open("w") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    plot(rows, options.out / "sizes.png")


if __name__ == "__main__":
    main()
