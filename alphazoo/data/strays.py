"""Stray days: days of the calendar on which hardly any stock of the market trades.

One row of one stock on a Saturday makes that Saturday a trading day for all: every label that
reaches over it needs a price on it, and is lost for the other stocks.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from alphazoo.errors import shorten

NEIGHBOURS = 10  # days before and after that a day is compared with
FEW = 0.5  # of the median number of stocks of these days
LEAST = 4  # stocks of a usual day: with fewer, suspended stocks look like a stray day


def find_stray_days(present: Tensor) -> npt.NDArray[np.int64]:
    """Days with fewer than half as many stocks as the median of the 21 days around them.

    When half of a market is suspended for a while, as in July 2015 in China, the median falls, too.

    Args:
        present: [D, S] bool, members with a price.

    Returns:
        Rows of the calendar.
    """
    counts, usual = _count(present)
    return np.flatnonzero((counts < FEW * usual) & (usual >= LEAST))


def lost_labels(
    present: Tensor,
    priced: Tensor,
    *,
    buy: int,
    sell: int,
    rows: Iterable[int] | None = None,
) -> int:
    """How many labels the other days lack and would have if no stray day were in the calendar.

    Args:
        present: [D, S] bool, members with a price.
        priced: [D, S] bool, stocks with a price.
        buy: Trading days from the score to the purchase.
        sell: Trading days from the score to the sale.
        rows: Days whose labels count; None: all.
    """
    strays = find_stray_days(present)
    if not len(strays):
        return 0
    others = torch.from_numpy(np.setdiff1d(np.arange(len(present)), strays))
    known = _labelled(present, priced, buy, sell)[others]
    possible = _labelled(present[others], priced[others], buy, sell)
    lost = (possible & ~known).sum(dim=1)
    counted = slice(None) if rows is None else torch.from_numpy(np.isin(others, [*rows]))
    return int(lost[counted].sum())


def _labelled(present: Tensor, priced: Tensor, buy: int, sell: int) -> Tensor:
    """[D, S] bool: members with a price today and on the days to buy and to sell."""
    labelled = torch.zeros_like(present)
    n_days = max(0, len(present) - sell)
    labelled[:n_days] = present[:n_days] & priced[buy : buy + n_days] & priced[sell:]
    return labelled


def describe_days(rows: npt.NDArray[np.int64], dates: pd.DatetimeIndex, present: Tensor) -> str:
    """``2 days with few members (Saturday 2020-06-06: 1 of 30, ...)``."""
    counts, usual = _count(present)
    days = shorten(
        f"{dates[row]:%A %Y-%m-%d}: {counts[row]} of {usual[row]:.0f}" for row in rows.tolist()
    )
    return f"{len(rows)} {'day' if len(rows) == 1 else 'days'} with few members ({days})"


def _count(present: Tensor) -> "tuple[pd.Series[int], pd.Series[float]]":
    """Stocks of each day, and the median of the days around it."""
    counts = pd.Series(present.sum(dim=1).numpy())
    around = counts.rolling(2 * NEIGHBOURS + 1, center=True, min_periods=1)
    return counts, around.median()
