"""The score table as a panel, checked."""

import logging

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.backtest.exchange import Flags, Values
from alphazoo.data.market import Market
from alphazoo.data.tables import parse_dates
from alphazoo.errors import InputError, check_choice, did_you_mean, shorten

log = logging.getLogger(__name__)

COLUMNS = ("date", "symbol", "score")

Indices = npt.NDArray[np.intp]


def score_panel(
    table: pd.DataFrame, market: Market, *, split: str | None, least: int
) -> tuple[range, Values]:
    """Scores by day and stock.

    Args:
        table: Columns ``date``, ``symbol``, ``score``, in any order; maybe ``split`` and others.
        market: Whose calendar and symbols the scores are of.
        split: The split to take from a table with that column; None: all of them.
        least: Stocks that each day must have.

    Returns:
        The days from the first to the last with scores, as rows of the calendar, and the scores
        [d, S]; NaN where there is none.

    Raises:
        InputError: A column, date or symbol is missing or unknown, a pair of date and symbol
            stands twice, a score is not a finite number, or a day has too few scores or equal ones.
    """
    for column in COLUMNS:
        if column not in table:
            hint = did_you_mean(column, map(str, table.columns))
            raise InputError(f"the scores have no column {column!r}; {hint}")
    if split is not None and "split" in table:
        if len(table):
            check_choice("backtest.split", split, set(map(str, table["split"].unique())))
        table = table[table["split"] == split]
    if table.empty:
        raise InputError("the scores have no rows")
    days, stocks = _days(table["date"], market), _stocks(table["symbol"], market)
    _check_values(table, days, stocks, market)
    rows = range(int(days.min()), int(days.max()) + 1)
    panel = np.full((len(rows), len(market.symbols)), np.nan)
    panel[days - rows.start, stocks] = table["score"].to_numpy(np.float64)
    _check_days(panel, rows, market, least)
    return rows, panel


def _days(column: "pd.Series[str]", market: Market) -> Indices:
    dates = parse_dates(column, "the scores")
    days = market.dates.get_indexer(pd.DatetimeIndex(dates))
    if (days < 0).any():
        unknown = sorted(set(dates[days < 0]))
        raise InputError(
            f"the scores have {len(unknown)} dates that are not in the calendar of market "
            f"{market.name!r}, {market.dates[0]:%Y-%m-%d} to {market.dates[-1]:%Y-%m-%d}: "
            f"{shorten(f'{date:%Y-%m-%d}' for date in unknown)}"
        )
    return days


def _stocks(column: "pd.Series[str]", market: Market) -> Indices:
    stocks = pd.Index(market.symbols).get_indexer(pd.Index(column))
    if (stocks < 0).any():
        unknown = sorted(set(column[stocks < 0].map(str)))
        raise InputError(
            f"the scores have {len(unknown)} symbols that market {market.name!r} has not: "
            f"{shorten(unknown)}; {did_you_mean(unknown[0], market.symbols)}"
        )
    return stocks


def _check_values(table: pd.DataFrame, days: Indices, stocks: Indices, market: Market) -> None:
    def listed(rows: Flags) -> str:
        pairs = zip(days[rows], stocks[rows], strict=True)
        return shorten(
            f"{market.dates[day]:%Y-%m-%d} {market.symbols[stock]}" for day, stock in pairs
        )

    twice = pd.Series(days * len(market.symbols) + stocks).duplicated().to_numpy()
    if twice.any():
        raise InputError(
            f"the scores have {twice.sum()} rows whose date and symbol stand twice: {listed(twice)}"
        )
    if not pd.api.types.is_numeric_dtype(table["score"]):
        raise InputError(f"the scores are numbers, found {table['score'].dtype}")
    wrong = ~np.isfinite(table["score"].to_numpy(np.float64, na_value=np.nan))
    if wrong.any():
        raise InputError(f"{wrong.sum()} scores are not finite: {listed(wrong)}")


def _check_days(panel: Values, rows: range, market: Market, least: int) -> None:
    """Days without any score are left: on the day after them nothing is traded."""
    dates = market.dates[rows.start : rows.stop]
    counts = np.isfinite(panel).sum(axis=1)
    few = (counts > 0) & (counts < least)
    if few.any():
        raise InputError(
            f"the strategy needs {least} stocks a day, but {few.sum()} days have scores of fewer: "
            f"{shorten(f'{d:%Y-%m-%d} {n}' for d, n in zip(dates[few], counts[few], strict=True))}"
        )
    several = panel[counts > 1]
    equal = np.nanmax(several, axis=1) == np.nanmin(several, axis=1)
    if equal.any():
        days = shorten(f"{date:%Y-%m-%d}" for date in dates[counts > 1][equal])
        raise InputError(f"the scores of {equal.sum()} days are all equal, no stock best: {days}")
    if (counts == 0).any():
        days = shorten(f"{date:%Y-%m-%d}" for date in dates[counts == 0])
        log.warning("no scores, and no trades on the day after: %s", days)
