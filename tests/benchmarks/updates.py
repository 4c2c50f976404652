"""What quarterly updates bring on CSI300: rank IC of 2019 and 2020, and seconds of a processor.

    python tests/benchmarks/updates.py FOLDER [--seeds 0 1] [--out updates] [KEY=VALUE ...]

FOLDER is a Qlib data folder of CSI300. A GRU on 20 columns of Alpha158 learns three years up to
September 2018 and is validated on the quarter after them; KEY=VALUE changes its settings. Then

- "none" scores 2019 and 2020 with it,
- "update" runs `alphazoo update` at the end of each quarter with its default settings, and scores
  the next quarter with the child, whose parent is the child before it,
- "walk forward" is ``walk_forward=quarterly`` with ``rolling=true``, which trains anew.

The same command goes on with what is in ``--out``; seconds are then those of the first time.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from alphazoo import compose, instantiate
from alphazoo.commands.job import train
from alphazoo.data.scores import join_returns
from alphazoo.metrics import daily_ic
from alphazoo.runs.run import Run
from alphazoo.serving.predict import predict
from alphazoo.serving.update import UPDATE, plan_update, write_update

MODEL = ["model=gru", "features=alpha158_seq", "trainer=cpu", "trainer.max_epochs=2"]
DAYS = [
    "data.train=['2015-10-01','2018-09-30']",
    "data.valid=['2018-10-01','2018-12-31']",
    "data.test=['2019-01-01','2020-12-31']",
]
QUARTERS = pd.period_range("2019Q1", "2020Q4", freq="Q")


def trained(folder: Path, *overrides: str) -> Run:
    train(compose(*overrides, f"folder={folder}", "ckpt=last"))
    return Run.open(folder)


def update(parent: Run, until: pd.Timestamp, folder: Path) -> Run:
    config = plan_update(parent, until=f"{until:%Y-%m-%d}", folder=str(folder))
    train(config)
    child = Run.open(folder)
    if not (folder / UPDATE).is_file():
        write_update(child, parent)
    return child


def score_quarters(base: Run, folder: Path) -> pd.DataFrame:
    """Scores of all quarters, each by a model that learnt until the end of the one before."""
    parts, run = [], base
    for quarter in QUARTERS:
        if quarter != QUARTERS[0]:
            until = (quarter - 1).end_time.normalize()
            run = update(run, until, folder / str(quarter - 1))
        days = (f"{day:%Y-%m-%d}" for day in (quarter.start_time, quarter.end_time))
        parts.append(predict(run, first=next(days), last=next(days)))
    return pd.concat(parts)


def measure(settings: list[str], folder: Path) -> pd.DataFrame:
    """Seconds and daily rank ICs of each way, one row per way."""
    base = trained(folder / "base", *settings)
    ways: dict[str, Callable[[], pd.DataFrame]] = {
        "none": lambda: predict(base, first="2019-01-01", last="2020-12-31"),
        "update": lambda: score_quarters(base, folder / "update"),
        "walk forward": lambda: walk_forward(settings, folder / "walk"),
    }
    market, label = instantiate(base.config.data.market)(), instantiate(base.config.label)
    file = folder / "found.csv"
    found = pd.read_csv(file, index_col=0) if file.is_file() else pd.DataFrame()
    for way, score in ways.items():
        if way in found.index:
            continue
        start = time.process_time()
        table = join_returns(score(), market, label)
        row = {"seconds": time.process_time() - start}
        daily = daily_ic(table)["rank_ic"].rename(lambda day: f"{day:%Y-%m-%d}")
        found = pd.concat([found, pd.DataFrame([{**row, **daily}], index=[way])])
        found.to_csv(file)
    return found


def walk_forward(settings: list[str], folder: Path) -> pd.DataFrame:
    run = trained(folder, *settings, "walk_forward=quarterly", "walk_forward.rolling=true")
    return run.scores[run.scores["split"] == "test"][["date", "symbol", "score"]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", metavar="FOLDER")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--out", type=Path, default=Path("updates"))
    options = parser.parse_args()
    for seed in options.seeds:
        folder = options.out / f"seed{seed}"
        data = ["data=qlib", f"data.path={options.data}", "report=false", f"seed={seed}"]
        found = measure([*MODEL, *DAYS, *data, *options.settings], folder)
        daily = found.drop(columns="seconds").T
        table = pd.DataFrame(
            {
                "2019": daily[daily.index < "2020"].mean(),
                "2020": daily[daily.index >= "2020"].mean(),
                "both": daily.mean(),
                "error of the difference to none": daily.sub(daily["none"], axis=0).sem(),
                "seconds": found["seconds"],
            }
        )
        print(f"seed {seed}, {len(daily)} days")
        print(table.to_string(float_format="%.4f"), flush=True)


if __name__ == "__main__":
    main()
