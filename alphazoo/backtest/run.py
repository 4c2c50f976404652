"""The backtest: a strategy trades an account by the scores of the day before, day by day."""

from typing import Literal

import numpy as np
import pandas as pd

from alphazoo.backtest.account import Account
from alphazoo.backtest.benchmark import Choice, find_benchmark
from alphazoo.backtest.exchange import Exchange, Quotes
from alphazoo.backtest.result import Backtest
from alphazoo.backtest.scores import score_panel
from alphazoo.backtest.strategies import Strategy
from alphazoo.bounds import PositiveFloat, PositiveInt
from alphazoo.errors import InputError
from alphazoo.market.market import Market

Split = Literal["valid", "test", "predict"]


def run_backtest(
    scores: pd.DataFrame,
    market: Market,
    *,
    strategy: Strategy,
    exchange: Exchange,
    account: PositiveFloat,
    benchmark: Choice | None,
    periods: PositiveInt,
    split: Split | None = None,
) -> Backtest:
    """Trade by scores.

    The score of a day is known after its close, so that it is traded on at the close of the next
    day, and earns from there on: the timing of the label with ``buy=1, sell=2``. The first day is
    the one after the first scores; the last is the second after the last scores, on which nothing
    is traded, so that all trades have earned. A position whose price is missing keeps its last
    one; if that was the last of all, it stays to the end and fills a place.

    Args:
        scores: Columns ``date``, ``symbol``, ``score``, such as ``scores.parquet`` of a run.
        market: Prices, universe, benchmark.
        strategy: What to trade.
        exchange: What trades cost and which are possible.
        account: Cash at the start.
        benchmark: ``"index"``, ``"universe"``, ``"cash"`` or None, see `find_benchmark`.
        periods: Trading days per year.
        split: Which rows of scores with a column ``split`` to take; None: all.

    Raises:
        InputError: The scores do not fit the market, are too few or all equal on a day, no trading
            day follows them, the benchmark is missing or short, or the account is lost.
    """
    scored, panel = score_panel(scores, market, split=split, least=strategy.least)
    rows = range(scored.start + 1, min(scored.stop + 2, len(market.dates)))
    if not rows:
        raise InputError(
            f"no trading day follows the scores of {market.dates[scored.start]:%Y-%m-%d}"
        )
    beside = find_benchmark(market, rows, benchmark, neutral=strategy.neutral)
    quotes = exchange.quotes(market, rows)
    book = Account(float(account), len(market.symbols), exchange)
    for day, row in enumerate(rows):
        book.open_day(row, Quotes(*(field[day] for field in quotes)))
        if day < len(panel) and np.isfinite(panel[day]).any():
            strategy.trade(book, panel[day])
        book.close_day()
        if not book.value > 0:
            raise InputError(f"the account of {account} is lost on {market.dates[row]:%Y-%m-%d}")
    return Backtest.of(book, market, cash=account, benchmark=beside, periods=periods)
