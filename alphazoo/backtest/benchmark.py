"""Benchmark: the daily return that a portfolio is compared with."""

from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from alphazoo.backtest.dividends import mean_dividends
from alphazoo.backtest.exchange import Values
from alphazoo.data.market import Market
from alphazoo.errors import InputError, check_choice, shorten

Choice = Literal["index", "universe", "cash"]


class Benchmark(NamedTuple):
    """What a portfolio is compared with.

    Attributes:
        name: What it is, in words.
        returns: [d], from the close before to that of the day.
        universe: [d], beside an index the return of the equally weighted universe.
        dividends: Beside an index those in the stocks' returns, see `mean_dividends`: most indices
            are of prices alone. None where there is no index or nothing is known of them.
    """

    name: str
    returns: Values
    universe: Values | None = None
    dividends: float | None = None


def find_benchmark(
    market: Market, rows: range, choice: Choice | None, *, neutral: bool
) -> Benchmark:
    """The benchmark of some days.

    Args:
        market: Where it is from.
        rows: Days of the calendar, the first of them not 0.
        choice: ``"index"``: the level that the market has; ``"universe"``: its members, equally
            weighted every day, without costs, a suspended one with return 0; ``"cash"``: 0;
            None: cash where ``neutral``, else the index of a market that has one, else its
            universe.
        neutral: Whether the portfolio is as much short as long.

    Raises:
        InputError: The market has no index or the index no level on one of the days or the one
            before.
    """
    if choice is None:
        choice = "universe" if market.benchmark is None else "index"
        choice = "cash" if neutral else choice
    check_choice("backtest.benchmark", choice, get_args(Choice))
    if choice == "cash":
        return Benchmark("cash without interest", np.zeros(len(rows)))
    universe = _universe(market, rows)
    if choice == "universe":
        return Benchmark(f"the equally weighted universe of {market.name}", universe)
    return Benchmark(
        f"the index of {market.name}",
        _index(market, rows),
        universe=universe,
        dividends=mean_dividends(market, rows),
    )


def _index(market: Market, rows: range) -> Values:
    if market.benchmark is None:
        raise InputError(
            f"market {market.name!r} has no benchmark: set data.benchmark to the symbol of an "
            "index, or backtest.benchmark=universe"
        )
    days = range(rows.start - 1, rows.stop)
    level: Values = market.benchmark[days.start : days.stop].double().numpy()
    missing = ~(np.isfinite(level) & (level > 0))
    if missing.any():
        dates = market.dates[days.start : days.stop]
        raise InputError(
            f"the benchmark of market {market.name!r} has no level on {missing.sum()} of the "
            f"{len(days)} days from {dates[0]:%Y-%m-%d} to {dates[-1]:%Y-%m-%d}: "
            f"{shorten(f'{date:%Y-%m-%d}' for date in dates[missing])}"
        )
    returns: Values = level[1:] / level[:-1] - 1
    return returns


def _universe(market: Market, rows: range) -> Values:
    close = pd.DataFrame(market.field("close")[: rows.stop].numpy())
    last = close.ffill().to_numpy()[rows.start - 1 :].astype(np.float64)
    # who belongs to it is known at the close before
    members = market.members[rows.start - 1 : rows.stop - 1].numpy() & np.isfinite(last[:-1])
    returns = np.where(members, last[1:] / last[:-1] - 1, 0.0)
    mean: Values = returns.sum(axis=1) / np.maximum(members.sum(axis=1), 1)
    return mean
