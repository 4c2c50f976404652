"""Checks a score table, and turns it into a panel."""

import logging

import numpy as np
import pandas as pd

from alphazoo.backtest.exchange import Values
from alphazoo.data.scores import locate_rows, read_scores
from alphazoo.errors import InputError, check_choice, shorten
from alphazoo.market.market import Market

log = logging.getLogger(__name__)


def score_panel(
    table: pd.DataFrame, market: Market, *, split: str | None, least: int
) -> tuple[range, Values]:
    """Return the scores by day and stock.

    Args:
        table: Columns ``date``, ``symbol`` and ``score``; other columns are allowed.
        market: The market, which must have all dates and symbols.
        split: The value of column ``split`` to select, if the table has this column; None selects
            all rows.
        least: Minimum number of scores on each day with scores.

    Returns:
        The rows of the calendar from the first to the last day with scores, and the scores [d, S];
        NaN where missing.

    Raises:
        InputError: The table is invalid, see `alphazoo.data.scores.read_scores`; the market lacks a
            date or symbol; or the scores of a day are too few or all equal.
    """
    if split is not None and "split" in table:
        check_choice("backtest.split", split, set(map(str, table["split"].unique())))
        table = table[table["split"] == split]
    scores = read_scores(table)
    days, stocks = locate_rows(scores, market)
    rows = range(int(days.min()), int(days.max()) + 1)
    panel = np.full((len(rows), len(market.symbols)), np.nan)
    panel[days - rows.start, stocks] = scores["score"]
    _check_days(panel, rows, market, least)
    return rows, panel


def _check_days(panel: Values, rows: range, market: Market, least: int) -> None:
    """Reject days with too few or only equal scores; warn of days without scores."""
    dates = market.dates[rows.start : rows.stop]
    counts = np.isfinite(panel).sum(axis=1)
    few = (counts > 0) & (counts < least)
    if few.any():
        raise InputError(
            f"the strategy needs scores of {least} stocks a day, but {few.sum()} days have fewer: "
            f"{shorten(f'{d:%Y-%m-%d} {n}' for d, n in zip(dates[few], counts[few], strict=True))}"
        )
    several = panel[counts > 1]
    equal = np.nanmax(several, axis=1) == np.nanmin(several, axis=1)
    if equal.any():
        days = shorten(f"{date:%Y-%m-%d}" for date in dates[counts > 1][equal])
        raise InputError(
            f"on {equal.sum()} days all scores are equal, so no stock is the best: {days}"
        )
    if (counts == 0).any():
        days = shorten(f"{date:%Y-%m-%d}" for date in dates[counts == 0])
        log.warning("days without scores, which are followed by days without trades: %s", days)
