"""The score table and its figures: IC, rank IC and their information ratios.

One table (date, stock, score, return) and one summary serve the log, the test, the report and the
notebook, so that they cannot disagree.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

if TYPE_CHECKING:
    from alphazoo.data.days import DayBatch

Panel = npt.NDArray[np.float64]  # [D, N], NaN where there is no value
Rows = npt.NDArray[np.integer]


def daily_ic(table: pd.DataFrame) -> pd.DataFrame:
    """Correlation of scores and returns among the stocks of each day.

    Args:
        table: Columns ``date``, ``score``, ``return`` (raw forward return, a fraction); rows in
            any order. Rows whose score or return is not finite do not count.

    Returns:
        One row per date: ``ic`` (Pearson), ``rank_ic`` (Spearman, average ranks for ties),
        ``stocks`` (finite pairs). An IC is NaN, undefined, where there are fewer than two pairs or
        all scores or all returns are equal.
    """
    days, dates = pd.factorize(table["date"], sort=True)
    places = table.groupby(days).cumcount().to_numpy()
    scores, returns = (to_panel(table[name], days, places) for name in ("score", "return"))
    return correlate(scores, returns).set_index(pd.Index(dates, name="date"))


def to_panel(values: npt.ArrayLike, days: Rows, places: Rows, width: int = 0) -> Panel:
    """Values of rows [R] as a panel [D, N], each at its day and place; NaN where there is none."""
    shape = days.max(initial=-1) + 1, max(places.max(initial=-1) + 1, width)
    panel = np.full(shape, np.nan)
    panel[days, places] = values
    return panel


def correlate(scores: Panel, returns: Panel) -> pd.DataFrame:
    """``ic``, ``rank_ic`` and ``stocks`` of each day, see `daily_ic`, of two panels [D, N]."""
    pairs = np.isfinite(scores) & np.isfinite(returns)
    x, y = np.where(pairs, scores, np.nan), np.where(pairs, returns, np.nan)
    return pd.DataFrame(
        {
            "ic": pearson(x, y),
            "rank_ic": pearson(day_ranks(x), day_ranks(y)),
            "stocks": pairs.sum(axis=1),
        }
    )


def pearson(x: Panel, y: Panel) -> npt.NDArray[np.float64]:
    """Correlation [D] of the rows of two panels [D, N] that are NaN in the same places.

    Each row is scaled by a power of two first, so that values of any size can be squared.
    """
    known = np.isfinite(x)
    counts = np.maximum(known.sum(axis=1, keepdims=True), 1)
    centred = []
    for panel in (x, y):
        filled = np.where(known, panel, 0.0)
        filled = to_unit(filled, np.abs(filled).max(axis=1, keepdims=True, initial=0.0))
        for _ in range(2):  # the second time takes off the rounding error of the first mean
            filled -= filled.sum(axis=1, keepdims=True) / counts
            filled *= known
        centred.append(filled)
    a, b = centred
    xy, xx, yy = (np.einsum("dn,dn->d", *pair) for pair in ((a, b), (a, a), (b, b)))
    xx[is_constant(x) | is_constant(y)] = np.nan
    correlation: npt.NDArray[np.float64] = np.clip(xy / np.sqrt(xx * yy), -1.0, 1.0)
    return correlation


def to_unit(x: Panel, largest: npt.ArrayLike) -> Panel:
    """Scale values to the range from -1 to 1, without rounding.

    Sums and squares of what float64 holds can overflow or vanish; those of the result cannot.

    Args:
        x: Values, at most ``largest`` in absolute value.
        largest: Broadcasts to x. The scale is the power of two above it, 1 for 0.
    """
    scaled: Panel = np.ldexp(x, -np.frexp(largest)[1])
    return scaled


def is_constant(panel: Panel) -> npt.NDArray[np.bool_]:
    """Whether no two values of a day differ: [D], exact where a rounded variance is not."""
    lowest = np.fmin.reduce(panel, axis=1, initial=np.inf)
    constant: npt.NDArray[np.bool_] = lowest >= np.fmax.reduce(panel, axis=1, initial=-np.inf)
    return constant


def day_ranks(panel: Panel) -> Panel:
    """Ranks within each day of a panel [D, N], from 1; ties share their mean, NaN has none."""
    return pd.DataFrame(panel).rank(axis=1).to_numpy()


def summary(table: pd.DataFrame) -> dict[str, float]:
    """Figures of a score table; means over days, each day with the same weight.

    Args:
        table: As for `daily_ic`; with a column ``label`` the loss is given, too.

    Returns:
        ``ic`` and ``rank_ic``, means over the days on which they are defined; ``icir`` and
        ``rank_icir``, mean / standard deviation (ddof 1) of the days, not annualised; ``days``;
        ``undefined_days``, those without IC; ``loss``, the mean over days of the day's mean squared
        error against finite labels.
    """
    figures: dict[str, float] = {}
    if "label" in table:
        errors = (table["score"].astype("float64") - table["label"]) ** 2
        figures["loss"] = float(errors.groupby(table["date"]).mean().mean())
    return figures | summarise_days(daily_ic(table))


def summarise_days(daily: pd.DataFrame) -> dict[str, float]:
    """The figures of `summary` that follow from a table of `daily_ic`."""
    figures: dict[str, float] = {}
    for name in ("ic", "rank_ic"):
        values = daily[name].dropna()
        figures[name] = float(values.mean())
        figures[name + "ir"] = float(values.mean() / values.std(ddof=1))
    figures["days"] = len(daily)
    figures["undefined_days"] = int(daily["ic"].isna().sum())
    return figures


class ScoreTable(Metric):
    """Collects the scores of days and merges them exactly over processes.

    Rows are keyed by date and stock: a day that a distributed sampler repeats counts once.
    ``compute()`` gives the table, ``summary(metric.compute())`` its figures.
    """

    full_state_update = False
    date: list[Tensor]
    stock: list[Tensor]
    rows: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("date", default=[], dist_reduce_fx="cat")
        self.add_state("stock", default=[], dist_reduce_fx="cat")
        self.add_state("rows", default=[], dist_reduce_fx="cat")

    def update(self, day: "DayBatch", scores: Tensor) -> None:
        """Add the scores [N] of a day."""
        self.date.append(day.date.expand(len(scores)))
        self.stock.append(day.stocks)
        self.rows.append(torch.stack([scores.detach().float(), day.labels, day.returns], dim=1))

    def compute(self) -> pd.DataFrame:
        """All rows, each (date, stock) once, sorted by both.

        Returns:
            Columns ``date`` (row of the calendar), ``stock`` (column of the universe), ``score``,
            ``label``, ``return``.
        """
        if len(self.date) == 0:
            raise ValueError("the score table has no rows: no day was scored")
        table = pd.DataFrame(
            {"date": dim_zero_cat(self.date).cpu(), "stock": dim_zero_cat(self.stock).cpu()}
        )
        table[["score", "label", "return"]] = dim_zero_cat(self.rows).cpu().numpy()
        table = table.drop_duplicates(["date", "stock"]).sort_values(["date", "stock"])
        return table.reset_index(drop=True)
