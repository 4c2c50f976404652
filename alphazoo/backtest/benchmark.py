"""The benchmark of a backtest: the daily return with which a portfolio is compared."""

from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from alphazoo.backtest.dividends import mean_dividends
from alphazoo.backtest.exchange import Values
from alphazoo.errors import InputError, check_choice, shorten
from alphazoo.market.market import Market

Choice = Literal["index", "universe", "cash"]


class Benchmark(NamedTuple):
    """The benchmark of some days.

    Attributes:
        name: Describes the benchmark.
        returns: [d], return from the previous close to the close of each day.
        universe: [d], return of the equally weighted universe, if the benchmark is an index.
        dividends: Mean dividend per day in the stocks' returns, see `mean_dividends`, because most
            indices are price indices. None if the benchmark is not an index, or if unknown.
    """

    name: str
    returns: Values
    universe: Values | None = None
    dividends: float | None = None


def find_benchmark(
    market: Market, rows: range, choice: Choice | None, *, neutral: bool
) -> Benchmark:
    """Return the benchmark of some days.

    Args:
        market: The market.
        rows: Rows of the calendar, which do not include 0.
        choice: ``"index"``: the benchmark of the market; ``"universe"``: universe members, equally
            weighted every day, without costs, where suspended stocks have a return of 0;
            ``"cash"``: a return of 0; None: cash if ``neutral``, else the index if the market has
            one, else the universe.
        neutral: Whether the strategy is market-neutral.

    Raises:
        InputError: The index is chosen, but the market has none, or its level is missing on one of
            the days or the day before.
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
            "index, or set backtest.benchmark=universe"
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
    # the members of the day before, because today's are unknown when the portfolio is formed
    members = market.members[rows.start - 1 : rows.stop - 1].numpy() & np.isfinite(last[:-1])
    returns = np.where(members, last[1:] / last[:-1] - 1, 0.0)
    mean: Values = returns.sum(axis=1) / np.maximum(members.sum(axis=1), 1)
    return mean
