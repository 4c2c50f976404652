"""Measures the share of dividends in the stocks' returns, from adjusted and raw prices."""

import numpy as np
import pandas as pd

from alphazoo.market.market import Market

SPLIT = 0.099  # growth of adjusted / raw price: 1 new share per 10, less a margin for rounding


def mean_dividends(market: Market, rows: range) -> float | None:
    """Return the mean dividend per day in the returns of the universe.

    Adjusted / raw price grows on the ex-date of a dividend or split. Growth below 9.9% a day counts
    as a dividend; larger growth counts as a split and is ignored. The result therefore misses
    dividends that are larger or coincide with a split, and includes splits of fewer than 1 new
    share per 10. Logarithmic growth is summed, including decreases, so that rounding errors of
    prices cancel out.

    Args:
        market: The market; its factor is adjusted / raw price.
        rows: Rows of the calendar, which do not include 0.

    Returns:
        Mean over days and over the members of the day before, as a fraction per day; None if the
        market has no factor for them.
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
