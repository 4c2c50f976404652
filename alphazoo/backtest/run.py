"""Runs a backtest: each day, a strategy trades an account by the scores of the day before."""

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

    The score of a day is known after its close, so it is traded at the close of the next day and
    earns the return after that, like the label with ``buy=1, sell=2``. The backtest starts on the
    day after the first scores. It ends on the second day after the last scores, without trading on
    this day, so that all trades earn a return. A position without a price is valued at its last
    price; that of a delisted stock stays until the end, and counts as one of the stocks held.

    Args:
        scores: Columns ``date``, ``symbol`` and ``score``, such as ``scores.parquet`` of a run.
        market: Gives prices, universe and benchmark.
        strategy: Decides what to trade.
        exchange: Trading costs and restrictions on trades.
        account: Initial cash, in currency.
        benchmark: ``"index"``, ``"universe"``, ``"cash"`` or None, see `find_benchmark`.
        periods: Trading days per year.
        split: The value of column ``split`` to select, if ``scores`` has it; None selects all rows.

    Raises:
        InputError: The scores do not match the market, or are too few or all equal on a day; no
            trading day follows them; the benchmark is missing on some day; or the account loses all
            of its value.
    """
    scored, panel = score_panel(scores, market, split=split, least=strategy.least)
    rows = range(scored.start + 1, min(scored.stop + 2, len(market.dates)))
    if not rows:
        raise InputError(
            f"no trading day follows the scores of {market.dates[scored.start]:%Y-%m-%d}"
        )
    compared = find_benchmark(market, rows, benchmark, neutral=strategy.neutral)
    quotes = exchange.quotes(market, rows)
    state = Account(float(account), len(market.symbols), exchange)
    for day, row in enumerate(rows):
        state.open_day(row, Quotes(*(field[day] for field in quotes)))
        if day < len(panel) and np.isfinite(panel[day]).any():
            strategy.trade(state, panel[day])
        state.close_day()
        if not state.value > 0:
            raise InputError(
                f"the account of {account} has lost all of its value on "
                f"{market.dates[row]:%Y-%m-%d}"
            )
    return Backtest.of(state, market, cash=account, benchmark=compared, periods=periods)
