"""What quarterly updates bring on CSI300: rank IC of 2019 and 2020, and seconds.

    python tests/benchmarks/updates.py FOLDER [--seeds 0 1] [--out updates] [KEY=VALUE ...]

FOLDER is a Qlib data folder of CSI300. A GRU on 20 columns of Alpha158 learns three years up to
September 2018 and is validated on the quarter after them; KEY=VALUE changes its settings. Then

- "none" scores 2019 and 2020 with it,
- "update" runs `alphazoo update` at the end of each quarter with its default settings, and scores
  the next quarter with the child, whose parent is the child before it,
- "rule" does the same, but a child that is worse than its parent by more than one standard error on
  the days of their comparison is dropped, as `alphazoo promote` would,
- "walk forward" is ``walk_forward=quarterly`` with ``rolling=true``, which trains anew.

The same command goes on with what is in ``--out``; seconds are then those of the first time.
"""

import argparse
import json
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
from alphazoo.serving.versions import ERRORS

MODEL = ["model=gru", "features=alpha158_seq", "trainer=cpu", "trainer.max_epochs=2"]
DAYS = [
    "data.train=['2015-10-01','2018-09-30']",
    "data.valid=['2018-10-01','2018-12-31']",
    "data.test=['2019-01-01','2020-12-31']",
]
QUARTERS = pd.period_range("2019Q1", "2020Q4", freq="Q")


def trained(folder: Path, *overrides: str) -> Run:
    train(compose(*overrides, f"folder={folder}"))
    return Run.open(folder)


def update(parent: Run, until: pd.Timestamp, folder: Path) -> Run:
    config = plan_update(parent, until=f"{until:%Y-%m-%d}", folder=str(folder))
    train(config)
    child = Run.open(folder)
    write_update(child, parent)
    return child


def better(child: Run) -> bool:
    """Whether a child may replace its parent."""
    found = json.loads((child.folder / UPDATE).read_text("utf-8"))
    gain = found["rank_ic_child"] - found["rank_ic_parent"]
    return bool(gain >= -ERRORS * found["standard_error"])


def score_quarters(base: Run, folder: Path, accept: Callable[[Run], bool]) -> pd.DataFrame:
    """Scores of all quarters, each by a model that learnt until the end of the one before."""
    parts, run = [], base
    for quarter in QUARTERS:
        if quarter != QUARTERS[0]:
            until = (quarter - 1).end_time.normalize()
            child = update(run, until, folder / f"{run.folder.name}-{quarter - 1}")
            run = child if accept(child) else run
        days = (f"{day:%Y-%m-%d}" for day in (quarter.start_time, quarter.end_time))
        parts.append(predict(run, first=next(days), last=next(days)))
    return pd.concat(parts)


def measure(settings: list[str], folder: Path) -> pd.DataFrame:
    """Daily rank IC of each way, in columns; its seconds are in ``seconds.json``."""
    base = trained(folder / "base", *settings)
    ways: dict[str, Callable[[], pd.DataFrame]] = {
        "none": lambda: predict(base, first="2019-01-01", last="2020-12-31"),
        "update": lambda: score_quarters(base, folder / "update", lambda child: True),
        "rule": lambda: score_quarters(base, folder / "update", better),
        "walk forward": lambda: walk_forward(settings, folder / "walk"),
    }
    file = folder / "seconds.json"
    seconds = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    market, label = instantiate(base.config.data.market)(), instantiate(base.config.label)
    found = {}
    for way, score in ways.items():
        start = time.process_time()
        scores = score()
        seconds.setdefault(way, time.process_time() - start)
        file.write_text(json.dumps(seconds), "utf-8")
        found[way] = daily_ic(join_returns(scores, market, label))["rank_ic"]
    return pd.DataFrame(found)


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
        daily = measure([*MODEL, *DAYS, *data, *options.settings], folder)
        seconds = json.loads((folder / "seconds.json").read_text("utf-8"))
        table = pd.DataFrame(
            {
                "2019": daily[daily.index.year == 2019].mean(),
                "2020": daily[daily.index.year == 2020].mean(),
                "both": daily.mean(),
                "error of the difference to none": daily.sub(daily["none"], axis=0).sem(),
                "seconds": pd.Series(seconds),
            }
        )
        print(f"seed {seed}, {len(daily)} days")
        print(table.to_string(float_format="%.4f"), flush=True)


if __name__ == "__main__":
    main()
