"""Statistics of scores, day by day: quantiles, long-short, autocorrelation, turnover, decay.

On panels [D, N] as in `alphazoo.metrics`: a row per scored day, NaN where there is no value.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.data.concepts import Concepts
from alphazoo.data.labels import forward_return
from alphazoo.data.market import Market
from alphazoo.metrics import Panel, Rows, correlate, is_constant, pearson, to_panel, to_unit

Days = npt.NDArray[np.float64]  # [D], NaN where undefined


def quantiles(ranks: Panel, n_quantiles: int) -> Rows:
    """Quantile of each score among those of its day, as `pandas.qcut` cuts.

    Quantile k ends at the interpolated k / n quantile of the scores. Equal scores share the
    quantile of their mean rank, so that some may be empty; where all are equal there is none.

    Args:
        ranks: [D, N], of the scores, see `alphazoo.metrics.day_ranks`.
        n_quantiles: How many.

    Returns:
        [D, N], 1 for the lowest scores to ``n_quantiles`` for the highest, 0 for none.
    """
    counts = np.isfinite(ranks).sum(axis=1, keepdims=True)
    cut = np.maximum(np.ceil((ranks - 1) * n_quantiles / np.maximum(counts - 1, 1)), 1)
    cut[np.isnan(ranks) | is_constant(ranks)[:, None]] = 0
    groups: Rows = cut.astype(np.int64)
    return groups


def group_means(groups: Rows, values: Panel, n_groups: int) -> Panel:
    """Mean of the values [D, N] of each day and group 1 to ``n_groups``: [D, n_groups]."""
    cells = groups + np.arange(len(groups))[:, None] * (n_groups + 1)
    size = len(groups) * (n_groups + 1)
    sums = np.bincount(cells.ravel(), np.nan_to_num(values).ravel(), minlength=size)
    counts = np.bincount(cells.ravel(), minlength=size)
    with np.errstate(invalid="ignore"):
        means: Panel = (sums / counts).reshape(len(groups), -1)[:, 1:]
    return means


def long_short(ranks: Panel, returns: Panel, share: float = 0.2) -> Days:
    """(Mean return of the best share of the day's stocks - that of the worst) / 2.

    Either end has ``int(share * n)`` of the n stocks with a rank [D, N]; of equal scores across
    its edge all belong to it or none, by their mean rank.
    """
    counts = np.isfinite(ranks).sum(axis=1, keepdims=True)
    size = np.floor(share * counts)
    ends = np.where(ranks > counts - size, 2, np.where(ranks < size + 1, 1, 0))
    means = group_means(ends, returns, 2)
    return np.diff(means, axis=1).squeeze(1) / 2


def autocorrelation(ranks: Panel, lag: int) -> Days:
    """Correlation of the ranks [D, S] of a day with those ``lag`` scored days before.

    Among the stocks that have both; ranks are those among all stocks of either day.
    """
    result = np.full(len(ranks), np.nan)
    now, before = ranks[lag:], ranks[:-lag]
    both = np.isfinite(now) & np.isfinite(before)
    result[lag:] = pearson(np.where(both, now, np.nan), np.where(both, before, np.nan))
    return result


def turnover(chosen: npt.NDArray[np.bool_]) -> Days:
    """Share of the chosen stocks [D, S] of a day that were not so the scored day before."""
    result = np.full(len(chosen), np.nan)
    sizes = chosen.sum(axis=1)
    new = (chosen[1:] & ~chosen[:-1]).sum(axis=1)
    known = (sizes[1:] > 0) & (sizes[:-1] > 0)
    result[1:][known] = new[known] / sizes[1:][known]
    return result


def coverage(scores: Panel, present: npt.NDArray[np.bool_]) -> Days:
    """Share of the present stocks [D, S] of a day that have a score [D, S]."""
    with np.errstate(invalid="ignore"):
        share: Days = (present & np.isfinite(scores)).sum(axis=1) / present.sum(axis=1)
    return share


def newey_west_lags(n_days: int) -> int:
    """Floor of 4 (n / 100)^(2/9): the usual rule, after Newey and West (1994)."""
    return int(4 * (n_days / 100) ** (2 / 9))


def t_statistic(values: Days, lags: int) -> float:
    """Mean of a series by its Newey-West standard error; undefined days are closed up.

    Newey and West, "A simple, positive semi-definite, heteroskedasticity and autocorrelation
    consistent covariance matrix", Econometrica 1987: Bartlett weights 1 - lag / (lags + 1), without
    a correction for small samples. NaN where the values do not vary.
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
    """Mean IC of scores with returns further and further ahead.

    Args:
        table: Columns ``date`` and ``score``.
        rows: [R], row of the calendar of each score.
        stocks: [R], column of the universe.
        market: Gives the closes.
        n_horizons: The last horizon, 0 for none; those beyond the calendar are left out.

    Returns:
        For each horizon h: ``ic``, ``rank_ic`` with the return of one day, from the close of t+h
        to that of t+h+1; ``held_ic``, ``held_rank_ic`` with that of h days, from t+1 to t+1+h.
    """
    days = pd.factorize(table["date"])[0]
    # in the order of their scores, which are then ranked twice as fast
    order = np.lexsort((table["score"].to_numpy(), days))
    days, rows, stocks = days[order], rows[order], stocks[order]
    places = pd.Series(days).groupby(days).cumcount().to_numpy()
    scores = to_panel(table["score"].to_numpy()[order], days, places)
    close = market.field("close")
    found = []
    for horizon in range(1, min(n_horizons, len(close) - 2) + 1):
        line = {"horizon": horizon}
        for prefix, buy in (("", horizon), ("held_", 1)):
            returns = forward_return(close, buy=buy, sell=horizon + 1).numpy()[rows, stocks]
            means = correlate(scores, to_panel(returns, days, places)).mean()
            line |= {f"{prefix}{name}": means[name] for name in ("ic", "rank_ic")}
        found.append(line)
    columns = ["horizon", "ic", "rank_ic", "held_ic", "held_rank_ic"]
    return pd.DataFrame(found, columns=columns).set_index("horizon")


def ic_by_concept(
    scores: Panel, returns: Panel, rows: Rows, concepts: Concepts, min_stocks: int
) -> pd.DataFrame:
    """Mean IC among the members of each concept.

    Args:
        scores: [D, S].
        returns: [D, S].
        rows: [D], row of the calendar of each day.
        concepts: Who belongs to what, and when; weights do not matter.
        min_stocks: A day counts for a concept if so many of its members have score and return.

    Returns:
        A row per concept that has such a day: ``ic``, ``rank_ic``, ``stocks`` (mean per day),
        ``days``.
    """
    found = []
    for number, concept in enumerate(concepts.names):
        of = concepts.concepts == number
        stocks, first, last = (
            part[of].numpy() for part in (concepts.stocks, concepts.first, concepts.last)
        )
        holds = (first <= rows[:, None]) & (rows[:, None] <= last)  # [D, memberships]
        daily = correlate(np.where(holds, scores[:, stocks], np.nan), returns[:, stocks])
        daily = daily[daily["stocks"] >= min_stocks]
        if len(daily):
            found.append({"concept": concept, **daily.mean(), "days": len(daily)})
    columns = ["concept", "ic", "rank_ic", "stocks", "days"]
    return pd.DataFrame(found, columns=columns).set_index("concept")
