"""Daily statistics of scores: quantiles, long-short, autocorrelation, turnover, decay.

Functions take panels [D, N] as in `alphazoo.metrics`: one row per scored day, NaN for no value.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.market.concepts import Concepts
from alphazoo.market.market import Market
from alphazoo.market.returns import forward_return
from alphazoo.metrics import Panel, Rows, correlate, is_constant, pearson, to_panel, to_unit

Days = npt.NDArray[np.float64]  # [D], NaN where undefined


def quantiles(ranks: Panel, n_quantiles: int) -> Rows:
    """Return the quantile of each score within its day, cut as by `pandas.qcut`.

    Quantile k ends at the interpolated k / n quantile of the scores. Equal scores share the
    quantile of their mean rank, so a quantile may be empty; if all scores of a day are equal, none
    has a quantile.

    Args:
        ranks: [D, N], ranks of the scores, see `alphazoo.metrics.day_ranks`.
        n_quantiles: Number of quantiles.

    Returns:
        [D, N], from 1 for the lowest scores to ``n_quantiles`` for the highest; 0 for no quantile.
    """
    counts = np.isfinite(ranks).sum(axis=1, keepdims=True)
    cut = np.maximum(np.ceil((ranks - 1) * n_quantiles / np.maximum(counts - 1, 1)), 1)
    cut[np.isnan(ranks) | is_constant(ranks)[:, None]] = 0
    groups: Rows = cut.astype(np.int64)
    return groups


def group_means(groups: Rows, values: Panel, n_groups: int) -> Panel:
    """Return the mean of the values [D, N] per day and group 1 to ``n_groups``: [D, n_groups]."""
    cells = groups + np.arange(len(groups))[:, None] * (n_groups + 1)
    size = len(groups) * (n_groups + 1)
    sums = np.bincount(cells.ravel(), np.nan_to_num(values).ravel(), minlength=size)
    counts = np.bincount(cells.ravel(), minlength=size)
    with np.errstate(invalid="ignore"):
        means: Panel = (sums / counts).reshape(len(groups), -1)[:, 1:]
    return means


def long_short(ranks: Panel, returns: Panel, share: float = 0.2) -> Days:
    """Return half the difference of the mean returns of the best and the worst stocks of a day.

    Each end has ``int(share * n)`` of the n stocks with a rank [D, N]. Stocks with equal scores are
    either all in it or all outside, by their mean rank.
    """
    counts = np.isfinite(ranks).sum(axis=1, keepdims=True)
    size = np.floor(share * counts)
    ends = np.where(ranks > counts - size, 2, np.where(ranks < size + 1, 1, 0))
    means = group_means(ends, returns, 2)
    return np.diff(means, axis=1).squeeze(1) / 2


def autocorrelation(ranks: Panel, lag: int) -> Days:
    """Return the correlation of the ranks [D, S] of a day with those ``lag`` scored days earlier.

    It covers the stocks ranked on both days; each rank is taken among all stocks of its own day.
    """
    result = np.full(len(ranks), np.nan)
    now, before = ranks[lag:], ranks[:-lag]
    both = np.isfinite(now) & np.isfinite(before)
    result[lag:] = pearson(np.where(both, now, np.nan), np.where(both, before, np.nan))
    return result


def turnover(chosen: npt.NDArray[np.bool_]) -> Days:
    """Return the fraction of a day's chosen stocks [D, S] not chosen one scored day earlier."""
    result = np.full(len(chosen), np.nan)
    sizes = chosen.sum(axis=1)
    new = (chosen[1:] & ~chosen[:-1]).sum(axis=1)
    known = (sizes[1:] > 0) & (sizes[:-1] > 0)
    result[1:][known] = new[known] / sizes[1:][known]
    return result


def coverage(scores: Panel, present: npt.NDArray[np.bool_]) -> Days:
    """Return the fraction of the day's present stocks [D, S] that have a score [D, S]."""
    with np.errstate(invalid="ignore"):
        share: Days = (present & np.isfinite(scores)).sum(axis=1) / present.sum(axis=1)
    return share


def newey_west_lags(n_days: int) -> int:
    """Return the floor of 4 (n / 100)^(2/9), the usual rule after Newey and West (1994)."""
    return int(4 * (n_days / 100) ** (2 / 9))


def t_statistic(values: Days, lags: int) -> float:
    """Return the mean of a series divided by its Newey-West standard error.

    Newey and West, "A simple, positive semi-definite, heteroskedasticity and autocorrelation
    consistent covariance matrix", Econometrica 1987: Bartlett weights 1 - lag / (lags + 1), without
    a correction for small samples. Undefined days are removed first. NaN if the values do not vary.
    """
    x = values[np.isfinite(values)]
    if len(x) < 2 or x.min() == x.max():
        return float("nan")
    x = to_unit(x, np.abs(x).max())
    centred = x - x.mean()
    variance = centred @ centred
    for lag in range(1, min(lags, len(x) - 1) + 1):
        variance += 2 * (1 - lag / (lags + 1)) * (centred[lag:] @ centred[:-lag])
    return float(x.mean() * len(x) / np.sqrt(variance))


def ic_decay(
    table: pd.DataFrame, rows: Rows, stocks: Rows, market: Market, n_horizons: int
) -> pd.DataFrame:
    """Return the mean IC of scores with returns at increasing horizons.

    Args:
        table: Columns ``date`` and ``score``.
        rows: [R], calendar row of each score.
        stocks: [R], universe column of each score.
        market: The closes.
        n_horizons: The last horizon, 0 for none; horizons beyond the calendar are left out.

    Returns:
        For each horizon h, ``ic`` and ``rank_ic`` with the one-day return from the close of t+h to
        the close of t+h+1, and ``held_ic`` and ``held_rank_ic`` with the h-day return from the
        close of t+1 to the close of t+1+h.
    """
    days = pd.factorize(table["date"])[0]
    # sorted scores are ranked twice as fast
    order = np.lexsort((table["score"].to_numpy(), days))
    days, rows, stocks = days[order], rows[order], stocks[order]
    places = pd.Series(days).groupby(days).cumcount().to_numpy()
    scores = to_panel(table["score"].to_numpy()[order], days, places)
    close = market.field("close")
    found = []
    for horizon in range(1, min(n_horizons, len(close) - 2) + 1):
        row = {"horizon": horizon}
        for prefix, buy in (("", horizon), ("held_", 1)):
            returns = forward_return(close, buy=buy, sell=horizon + 1).numpy()[rows, stocks]
            means = correlate(scores, to_panel(returns, days, places)).mean()
            row |= {f"{prefix}{name}": means[name] for name in ("ic", "rank_ic")}
        found.append(row)
    columns = ["horizon", "ic", "rank_ic", "held_ic", "held_rank_ic"]
    return pd.DataFrame(found, columns=columns).set_index("horizon")


def ic_by_concept(
    scores: Panel, returns: Panel, rows: Rows, concepts: Concepts, min_stocks: int
) -> pd.DataFrame:
    """Return the mean IC among the members of each concept.

    Args:
        scores: [D, S].
        returns: [D, S].
        rows: [D], calendar row of each day.
        concepts: Memberships of the stocks; their weights are not used.
        min_stocks: Least number of members with a score and a return for a day to count.

    Returns:
        One row per concept with at least one such day: ``ic``, ``rank_ic``, ``stocks`` (mean per
        day), ``days``.
    """
    found = []
    for number, concept in enumerate(concepts.names):
        own = concepts.concepts == number
        stocks, first, last = (
            part[own].numpy() for part in (concepts.stocks, concepts.first, concepts.last)
        )
        holds = (first <= rows[:, None]) & (rows[:, None] <= last)  # [D, memberships]
        daily = correlate(np.where(holds, scores[:, stocks], np.nan), returns[:, stocks])
        daily = daily[daily["stocks"] >= min_stocks]
        if len(daily):
            found.append({"concept": concept, **daily.mean(), "days": len(daily)})
    columns = ["concept", "ic", "rank_ic", "stocks", "days"]
    return pd.DataFrame(found, columns=columns).set_index("concept")
