"""A model at work: what export changes, what bfloat16 brings, and what the daily commands take.

    python tests/benchmarks/serving.py export FOLDER [MODEL ...] [--int8 MODEL ...] [--out serving]
    python tests/benchmarks/serving.py precision FOLDER [MODEL ...] [--out serving]
    python tests/benchmarks/serving.py daily [FOLDER] [--stocks 5000] [--days 1000] [--live 250]

FOLDER is a Qlib data folder of CSI300. "export" and "precision" train each model for 20 days on 20
columns of Alpha158 over 20 days, which is enough to compare files and speed. "export" prints what
`alphazoo export` compares on 42 validation days, "precision" the milliseconds of a day in float32
and in bfloat16, the fastest of three passes that alternate. The same command goes on with what is
in ``--out``.

"daily" runs `alphazoo predict append=` for the newest day and `alphazoo monitor`, each in a process
of its own, and prints seconds and peak memory. Its market is FOLDER with scores of 2017 to June
2020, or a synthetic one that is read from a Parquet file, with scores of the last ``--live`` days.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from alphazoo import compose, instantiate
from alphazoo.commands.job import train
from alphazoo.config import config_dir
from alphazoo.errors import InputError
from alphazoo.files import write_table
from alphazoo.market.market import Market
from alphazoo.runs.run import Run
from alphazoo.serving.export import export_run
from alphazoo.serving.load import load_run
from alphazoo.serving.predict import identify
from alphazoo.serving.score_file import append_scores

MODELS = sorted(file.stem for file in (config_dir() / "model").glob("*.yaml"))
QUICK = ["trainer=cpu", "trainer.max_epochs=1", "++trainer.limit_train_batches=20"]
CSI300 = ["data=qlib", "data/concepts=correlation", "features=alpha158_seq"]
# a small process, because a child's peak counts that of the process that started it
PEAK = """import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)"""
DAYS = [
    "data.train=['2015-07-01','2016-10-28']",
    "data.valid=['2016-11-01','2016-12-31']",
    "data.test=['2017-01-01','2017-01-31']",
]


def trained(name: str, data: Path, out: Path) -> Run:
    """A run of a model; one that is in the folder already is not trained again."""
    needs = compose(f"model={name}").model
    market = ["data.indices=[SH000300]"] * ("n_market" in needs)
    stocks = [f"model.n_stocks={count_stocks(data)}"] * ("n_stocks" in needs)
    other = [f"data.path={data}", f"folder={out / 'runs' / name}", "report=false", "ckpt=last"]
    train(compose(f"model={name}", *CSI300, *DAYS, *QUICK, *market, *stocks, *other))
    return Run.open(out / "runs" / name)


def count_stocks(data: Path) -> int:
    return len(instantiate(compose(*CSI300, f"data.path={data}").data.market)().symbols)


def table_of(file: Path, key: list[str]) -> tuple[pd.DataFrame, set[tuple[str, ...]]]:
    """Rows that were measured before, and their keys."""
    table = pd.read_csv(file) if file.is_file() else pd.DataFrame(columns=key)
    return table, set(table[key].itertuples(index=False, name=None))


def compare_exports(options: argparse.Namespace) -> None:
    file = options.out / "export.csv"
    table, done = table_of(file, ["model", "precision"])
    wanted = [(name, "float32") for name in options.models or MODELS]
    for name, precision in [*wanted, *((name, "int8") for name in options.int8)]:
        if (name, precision) in done:
            continue
        row: dict[str, object] = {"model": name, "precision": precision}
        run = trained(name, options.data, options.out)
        try:
            found = export_run(run, options.out / "models" / name / precision, precision=precision)
            row |= {
                "difference": found.difference,
                "rank correlation": found.correlation,
                "worst day": found.lowest_correlation,
                "bytes": found.bytes,
                "of float32": found.bytes / found.float32_bytes,
                "ms": found.ms,
                "torch ms": found.torch_ms,
            }
        except InputError as error:
            row["refused"] = str(error)
        table = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
        table.to_csv(file, index=False)
    print(table.to_string(index=False, na_rep="", float_format="%.3g"))


def compare_precisions(options: argparse.Namespace) -> None:
    rows = []
    for name in options.models or ["gru", "transformer"]:
        run = trained(name, options.data, options.out)
        loaded = {p: load_run(run, precision=p) for p in ("32-true", "bf16-mixed")}
        scores = {p: one.score("valid")["score"] for p, one in loaded.items()}
        seconds: dict[str, list[float]] = {p: [] for p in loaded}
        for p in [*loaded] * 3:
            start = time.perf_counter()
            loaded[p].score("valid")
            seconds[p].append(time.perf_counter() - start)
        n_days = len(loaded["32-true"].data.segments["valid"])
        fastest = [1e3 * min(found) / n_days for found in seconds.values()]
        plain, half = scores.values()
        rows.append(
            {
                "model": name,
                "float32 ms": fastest[0],
                "bfloat16 ms": fastest[1],
                "ratio": fastest[1] / fastest[0],
                "difference / std": (plain - half).std() / plain.std(),
                "rank correlation": plain.corr(half, method="spearman"),
            }
        )
    print(pd.DataFrame(rows).to_string(index=False, float_format="%.4g"))


def put_to_work(options: argparse.Namespace) -> tuple[Run, list[str], pd.DatetimeIndex]:
    """A run, what its commands are told, and the days that it scores."""
    model = ["model=gru", "features=alpha158_seq", *QUICK, f"folder={options.out / 'daily'}"]
    if options.data:
        told = [f"data.path={options.data}"]
        days = pd.bdate_range("2017-01-01", "2020-06-30")
        segments = ["data.train=[2013,2015]", "data.valid=[2016,2016]", "data.test=[2017,2017]"]
        train(compose("data=qlib", *told, *segments, *model))
        run = Run.open(options.out / "daily")
        market: Market = instantiate(run.config.data.market)()
        return run, told, market.dates[market.dates.isin(days)]
    file = options.out / "prices.parquet"
    options.out.mkdir(parents=True, exist_ok=True)
    sizes = [f"data.n_days={options.days}", f"data.n_stocks={options.stocks}"]
    market = instantiate(compose("data=synthetic", *sizes).data.market)()
    write_table(market.to_table(), file)
    dates = market.dates
    ends = [0, options.days // 2, options.days * 6 // 10, options.days - options.live]
    days_of = {
        name: f"['{dates[start]:%Y-%m-%d}','{dates[stop - 1]:%Y-%m-%d}']"
        for name, start, stop in zip(("train", "valid", "test"), ends, ends[1:], strict=False)
    }
    told = [f"data.path={file}"]
    segments = [f"data.{name}={days}" for name, days in days_of.items()]
    train(compose("data=table", *told, *segments, *model, "data.columns.adjusted_close=null"))
    return Run.open(options.out / "daily"), told, dates[-options.live :]


def measure_commands(options: argparse.Namespace) -> None:
    run, told, days = put_to_work(options)
    file = options.out / "scores.parquet"
    file.unlink(missing_ok=True)
    first, last, newest = (f"{day:%Y-%m-%d}" for day in days[[0, -2, -1]])
    append_scores(file, identify(run, first=first, last=last))
    rows = []
    for command in (
        ["predict", f"run={run.folder}", f"append={file}", f"date={newest}", *told],
        ["monitor", f"run={run.folder}", f"scores={file}", f"today={newest}", *told],
    ):
        start = time.perf_counter()
        told = [sys.executable, "-c", PEAK, sys.executable, "-m", "alphazoo", *command]
        done = subprocess.run(told, stdout=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - start
        if done.returncode not in (0, 2):  # alarms are no fault
            sys.exit(f"{command[0]} failed")
        peak = int(done.stdout.splitlines()[-1]) / 1e6
        rows.append({"command": command[0], "s": seconds, "GB": peak})
    print(f"{len(days)} days of scores")
    print(pd.DataFrame(rows).to_string(index=False, float_format="%.2f"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for name, function in (("export", compare_exports), ("precision", compare_precisions)):
        command = commands.add_parser(name)
        command.set_defaults(function=function)
        command.add_argument("data", metavar="FOLDER", type=Path)
        command.add_argument("models", nargs="*", metavar="MODEL")
        command.add_argument("--int8", nargs="*", default=["transformer", "localformer"])
    command = commands.add_parser("daily")
    command.set_defaults(function=measure_commands)
    command.add_argument("data", metavar="FOLDER", nargs="?", type=Path)
    command.add_argument("--stocks", type=int, default=5000)
    command.add_argument("--days", type=int, default=1000)
    command.add_argument("--live", type=int, default=250)
    for command in commands.choices.values():
        command.add_argument("--out", type=Path, default=Path("serving"))
    options = parser.parse_args()
    options.function(options)


if __name__ == "__main__":
    main()
