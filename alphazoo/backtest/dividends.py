"""Dividends: how much of the stocks' returns they are, measured from adjusted and raw prices."""

import numpy as np
import pandas as pd

from alphazoo.data.market import Market

SPLIT = 0.099  # growth of adjusted / raw price: 1 new share per 10, less what rounding takes


def mean_dividends(market: Market, rows: range) -> float | None:
    """Dividends in the returns of the universe.

    Adjusted / raw price grows on an ex-date, by dividends and by splits alike. A day's growth below
    9.9% counts as a dividend, a larger one as a split, which is left out. So the result is too low
    by dividends that come with a split or are larger, and too high by splits of fewer than 1 new
    share per 10. Falls count as well, and in logarithms, so that rounded prices cancel out.

    Args:
        market: Its factor is adjusted / raw price.
        rows: Days of the calendar, the first of them not 0.

    Returns:
        Mean over the days of the members of the day before, equally weighted: a fraction per day.
        None where the market has no factor of them.
    """
    if market.factor is None:
        return None
    factor = pd.DataFrame(market.factor[: rows.stop].numpy()).ffill().to_numpy()[rows.start - 1 :]
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = np.diff(np.log(factor.astype(np.float64)), axis=0)  # [d, S]
    members = market.members[rows.start - 1 : rows.stop - 1].numpy() & np.isfinite(growth)
    if not members.any():
        return None
    paid = np.where(members & (np.abs(growth) < np.log1p(SPLIT)), growth, 0.0)
    return float(paid.sum() / members.sum())
