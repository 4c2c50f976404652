"""Seconds and metrics of a top-k dropout backtest on CSI300, next to those of pyqlib.

    python tests/benchmarks/backtest.py FOLDER SCORES [--to 2020-07-28] [--qlib]

``--qlib`` needs pyqlib and takes a minute. It runs Qlib's backtest twice: first on our prices,
which gives the same metrics, then on the folder as it is. Where the folder repeats the last price
of a suspended stock, Qlib trades that stock.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from alphazoo import Market, compose, instantiate

SYMBOL = "SH000300"
LIMITS = ("$close/Ref($close, 1) - 1 >= 0.095", "$close/Ref($close, 1) - 1 <= -0.095")


def report(name: str, seconds: float, figures: Mapping[str, float]) -> None:
    print(f"{name:<32}{seconds:8.1f}" + "".join(f"{x:14.5f}" for x in figures.values()), flush=True)


def of_qlib(
    folder: Path, scores: pd.DataFrame, days: pd.DataFrame, benchmark: str, limit: object
) -> tuple[float, dict[str, float]]:
    from qlib.contrib.evaluate import risk_analysis
    from test_parity_backtest import EXCHANGE, STRATEGY
    from test_parity_backtest import of_qlib as run_qlib

    settings = {**STRATEGY, **EXCHANGE, "topk": 50, "n_drop": 5, "account": 1e8}
    settings |= {"limit": limit, "trade_unit": 100}
    start = time.perf_counter()
    theirs = run_qlib(folder, scores, days, settings, benchmark)
    seconds = time.perf_counter() - start
    excess = theirs["return"] - theirs["cost"] - theirs["bench"]
    risk = risk_analysis(excess, N=252, freq=None)["risk"]
    return seconds, risk[["annualized_return", "information_ratio", "max_drawdown"]].to_dict()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a Qlib data folder of CSI300")
    parser.add_argument("scores", help="scores.parquet of a run; its test split is traded")
    parser.add_argument("--to", default="2020-07-28", help="last day of scores")
    parser.add_argument("--qlib", action="store_true", help="also run pyqlib's backtest")
    options = parser.parse_args()

    market = Market.from_qlib(options.folder, universe="csi300", benchmark=SYMBOL)
    scores = pd.read_parquet(options.scores)
    scores = scores[(scores["split"] == "test") & (scores["date"] <= options.to)]
    backtest = instantiate(
        compose("backtest=a_shares", "backtest.strategy.only_tradable=false").backtest
    )  # as in Qlib
    start = time.perf_counter()
    result = backtest(scores, market)
    seconds = time.perf_counter() - start
    print(f"{'':<32}{'seconds':>8}{'annual excess':>14}{'IR':>14}{'drawdown':>14}")
    names = ("annualised_sum", "information_ratio", "max_drawdown_sum")
    report("ours", seconds, {n: result.figures[f"excess_return_with_cost/{n}"] for n in names})
    if options.qlib:
        sys.path.insert(0, str(Path(__file__).parents[1]))
        from conftest import write_qlib
        from test_parity_backtest import traded_prices

        with tempfile.TemporaryDirectory() as name:
            frame = traded_prices(market, first=str(market.dates[0]))
            folder = write_qlib(Path(name) / "qlib", frame, extra=("change", "factor"))
            report("Qlib, same prices", *of_qlib(folder, scores, result.days, "INDEX", 0.095))
        report(
            "Qlib, folder as it is", *of_qlib(options.folder, scores, result.days, SYMBOL, LIMITS)
        )


if __name__ == "__main__":
    main()
