"""Daily values of a panel of scores [D, S], one row per scored day, NaN where there is no score."""

import warnings

import numpy as np
import numpy.typing as npt

from alphazoo.evaluation.signals import autocorrelation, turnover
from alphazoo.metrics import Panel, day_ranks
from alphazoo.serving.monitor.limits import BINS

Days = npt.NDArray[np.float64]  # [D]


def z_scores(scores: Panel) -> Panel:
    """Standardise the scores of each day; 0 if all are equal."""
    with warnings.catch_warnings():  # numpy warns of days without scores
        warnings.simplefilter("ignore", RuntimeWarning)
        center, spread = (f(scores, axis=1, keepdims=True) for f in (np.nanmean, np.nanstd))
    found: Panel = (scores - center) / np.where(spread > 0, spread, 1.0)
    return found


def z_edges(scores: Panel) -> Days:
    """Return the deciles [9] of the standardised scores of all days."""
    found: Days = np.nanquantile(z_scores(scores), np.arange(1, BINS) / BINS)
    return found


def z_counts(scores: Panel, edges: Days) -> npt.NDArray[np.int64]:
    """Return the number of standardised scores in each bin, [D, 10]."""
    z = z_scores(scores)
    bins = np.where(np.isfinite(z), np.searchsorted(edges, z), BINS)
    return np.stack([(bins == number).sum(axis=1) for number in range(BINS)], axis=1)


def agreement(scores: Panel) -> Days:
    """Return the Spearman correlation of a day's scores with those of the day before."""
    return autocorrelation(day_ranks(scores), 1)


def replaced(scores: Panel, top: int) -> Days:
    """Return the share of the best stocks of a day that were not among the best the day before.

    Args:
        scores: [D, S].
        top: Number of best stocks, at most a fifth of the stocks of the day.
    """
    counts = np.isfinite(scores).sum(axis=1, keepdims=True)
    ranks = day_ranks(-scores)
    return turnover(ranks <= np.minimum(top, np.maximum(counts // 5, 1)))
