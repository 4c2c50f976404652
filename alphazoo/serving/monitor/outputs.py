"""Monitors of the scores: their distribution, their stability, and who gave them."""

import numpy as np
import pandas as pd

from alphazoo.market.fingerprint import Fingerprint
from alphazoo.serving.monitor.live import Live
from alphazoo.serving.monitor.profile import Values, psi
from alphazoo.serving.monitor.readings import readings
from alphazoo.serving.monitor.reference import TOP
from alphazoo.serving.monitor.series import agreement, replaced, z_counts
from alphazoo.serving.score_file import CHECKPOINT, DATA, DATE, SETTINGS

TAIL = 3.1  # standard deviations; 0.1% of a normal distribution lies beyond


def score_drift(live: Live) -> pd.DataFrame:
    """Return the PSI of the standardised scores of a day against those of the validation days.

    The limit is at least the largest PSI of a validation day.
    """
    limits, reference = live.limits, live.reference
    counts = z_counts(live.scores, reference.score_edges)
    value = psi(counts, reference.score_counts.sum(axis=0))
    usual = psi(reference.score_counts, reference.score_counts.sum(axis=0)).max()
    high = np.maximum(max(limits.psi_act, usual), limits.null_psi(counts.sum(axis=1)))
    return readings("score_drift", live.dates, value, high=high)


def score_scale(live: Live) -> pd.DataFrame:
    """Return the standard deviation of the raw scores of a day, relative to the validation days."""
    value = _spread(live.scores) / np.nanmedian(live.reference.score_std)
    usual = live.reference.score_std / np.nanmedian(live.reference.score_std)
    factor = live.limits.score_factor
    low, high = min(1 / factor, np.nanmin(usual)), max(factor, np.nanmax(usual))
    return readings("score_scale", live.dates, value, low=low, high=high)


def rank_stability(live: Live) -> pd.DataFrame:
    """Return the Spearman correlation of a day's scores with those of the day before."""
    value = agreement(live.scores)
    ends = np.tanh(_bounds(np.arctanh(np.clip(live.reference.agreement, -0.999999, 0.999999))))
    return readings("rank_stability", live.dates, value, low=ends[0], high=ends[1])


def rank_stability_mean(live: Live) -> pd.DataFrame:
    """Return the mean of the rank stability of the last days; it sees what one day does not.

    It has no upper limit: scores move less in a calm market, and scores of the day before are seen
    on one day.
    """
    days, usual = live.limits.stability_days, pd.Series(live.reference.agreement)
    value, known = (
        pd.Series(x).rolling(days, min_periods=days // 2).mean().to_numpy()
        for x in (agreement(live.scores), usual)
    )
    return readings("rank_stability_mean", live.dates, value, low=_bounds(known)[0])


def turnover(live: Live) -> pd.DataFrame:
    """Return the share of the best stocks that were not among the best the day before."""
    value = replaced(live.scores, TOP)
    # the angle whose sine is the root of a share has a variance that does not depend on the share
    low, high = _bounds(np.arcsin(np.sqrt(live.reference.replaced)))
    ends = (np.sin(max(low, 0.0)) ** 2, np.sin(min(high, np.pi / 2)) ** 2)
    return readings("turnover", live.dates, value, low=ends[0], high=ends[1])


def identity(live: Live) -> pd.DataFrame:
    """Return how many of checkpoint, settings and data of a day's scores are not the version's own.

    The checkpoint must be that of the run, the settings those of the version's first day, and the
    data those of the market as it is now, up to the day.
    """
    kinds = (CHECKPOINT, SETTINGS, DATA)
    given = live.table[[DATE, *kinds]].drop_duplicates().sort_values(DATE, kind="stable")
    market = Fingerprint(live.market)
    known = pd.DatetimeIndex(given.loc[given[DATA] != "", DATE].unique())
    rows = live.market.dates.get_indexer(known)
    now = {day: market.upto(int(row)) for day, row in zip(known, rows, strict=True)}
    own = {
        CHECKPOINT: live.checkpoint,
        SETTINGS: next((text for text in given[SETTINGS] if text), ""),
        DATA: given[DATE].map(now),
    }
    differs = pd.DataFrame(
        {kind: (given[kind] != own[kind]) & (given[kind] != "") for kind in kinds}
    )
    daily = differs.groupby(given[DATE]).any().reindex(live.dates, fill_value=False)
    names = [", ".join(kind for kind in kinds if day[kind]) for _, day in daily.iterrows()]
    return readings("identity", live.dates, daily.sum(axis=1), high=0, detail=names)


def _spread(scores: Values) -> Values:
    known = np.isfinite(scores).sum(axis=1) > 1
    found = np.full(len(scores), np.nan)
    found[known] = np.nanstd(scores[known], axis=1)
    return found


def _bounds(usual: Values) -> tuple[float, float]:
    """Return the 0.1% and 99.9% limits of validation days.

    They are the outermost days or, if that is wider, `TAIL` standard deviations around the mean:
    with a few hundred days, quantiles so far out are hardly known.
    """
    known = usual[np.isfinite(usual)]
    if not len(known):
        return -np.inf, np.inf
    center, spread = known.mean(), TAIL * known.std()
    return min(known.min(), center - spread), max(known.max(), center + spread)
