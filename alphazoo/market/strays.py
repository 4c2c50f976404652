"""Stray days: days of the calendar on which hardly any stock of the market trades.

A single row of one stock on a Saturday makes that Saturday a trading day of the market. A label
that buys or sells on this day is then lost for all other stocks, which have no price on it.
"""

import logging
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from alphazoo.errors import shorten

log = logging.getLogger(__name__)

NEIGHBOURS = 10  # each day is compared with this many days before and after it
MAX_SHARE = 0.5  # a stray day has less than this share of the median number of stocks
MIN_USUAL = 4  # with a smaller median, a few suspended stocks would look like a stray day


def find_stray_days(present: Tensor) -> npt.NDArray[np.int64]:
    """Find days with fewer than half as many stocks as the median of the 21 days around them.

    The median also falls when half of a market is suspended for a while, as in China in July 2015,
    so such days are not stray.

    Args:
        present: [D, S] bool, universe members with a price.

    Returns:
        Rows of the calendar.
    """
    counts, usual = _count(present)
    return np.flatnonzero((counts < MAX_SHARE * usual) & (usual >= MIN_USUAL))


def lost_labels(
    present: Tensor,
    priced: Tensor,
    *,
    buy: int,
    sell: int,
    rows: Iterable[int] | None = None,
) -> int:
    """Count the labels of other days that would exist if the calendar had no stray days.

    Args:
        present: [D, S] bool, universe members with a price.
        priced: [D, S] bool, stocks with a price.
        buy: Trading days from the score to the purchase.
        sell: Trading days from the score to the sale.
        rows: Rows of the calendar whose labels are counted; None counts all days.
    """
    strays = find_stray_days(present)
    if not len(strays):
        return 0
    others = torch.from_numpy(np.setdiff1d(np.arange(len(present)), strays))
    labelled = _labelled(present, priced, buy, sell)[others]
    possible = _labelled(present[others], priced[others], buy, sell)
    lost = (possible & ~labelled).sum(dim=1)
    counted = slice(None) if rows is None else torch.from_numpy(np.isin(others, [*rows]))
    return int(lost[counted].sum())


def _labelled(present: Tensor, priced: Tensor, buy: int, sell: int) -> Tensor:
    """Return the members with a price today and on the days of purchase and sale, [D, S] bool."""
    labelled = torch.zeros_like(present)
    n_days = max(0, len(present) - sell)
    labelled[:n_days] = present[:n_days] & priced[buy : buy + n_days] & priced[sell:]
    return labelled


def describe_days(rows: npt.NDArray[np.int64], dates: pd.DatetimeIndex, present: Tensor) -> str:
    """Describe days, as in ``2 days with few members (Saturday 2020-06-06: 1 of 30, ...)``."""
    counts, usual = _count(present)
    days = shorten(
        f"{dates[row]:%A %Y-%m-%d}: {counts[row]} of {usual[row]:.0f}" for row in rows.tolist()
    )
    return f"{len(rows)} {'day' if len(rows) == 1 else 'days'} with few members ({days})"


def _count(present: Tensor) -> "tuple[pd.Series[int], pd.Series[float]]":
    """Return the number of stocks of each day, and the median over the days around it."""
    counts = pd.Series(present.sum(dim=1).numpy())
    around = counts.rolling(2 * NEIGHBOURS + 1, center=True, min_periods=1)
    return counts, around.median()


def warn_of_stray_days(name: str, dates: pd.DatetimeIndex, present: Tensor, priced: Tensor) -> None:
    """Warn of stray days, and count the lost labels of the return from day t+1 to t+2.

    Args:
        name: Name of the market.
        dates: [D].
        present: [D, S] bool, the members of each day with a price.
        priced: [D, S] bool, the stocks with a price.
    """
    lost = lost_labels(present, priced, buy=1, sell=2)
    if lost:
        log.warning(
            "market %r has %s, on which other stocks have no price, so that %s labels (returns "
            "from day t+1 to t+2) are lost; delete their rows if the market was closed",
            name,
            describe_days(find_stray_days(present), dates, present),
            f"{lost:,}",
        )
