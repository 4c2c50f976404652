"""The score table as a panel, checked."""

import logging

import numpy as np
import pandas as pd

from alphazoo.backtest.exchange import Values
from alphazoo.data.scores import locate, read_scores
from alphazoo.errors import InputError, check_choice, shorten
from alphazoo.market.market import Market

log = logging.getLogger(__name__)


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
        InputError: The table is wrong, see `alphazoo.data.scores.read_scores`, the market lacks a
            date or symbol, or a day has too few scores or equal ones.
    """
    if split is not None and "split" in table:
        check_choice("backtest.split", split, set(map(str, table["split"].unique())))
        table = table[table["split"] == split]
    known = read_scores(table)
    days, stocks = locate(known, market)
    rows = range(int(days.min()), int(days.max()) + 1)
    panel = np.full((len(rows), len(market.symbols)), np.nan)
    panel[days - rows.start, stocks] = known["score"]
    _check_days(panel, rows, market, least)
    return rows, panel


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
