"""The score table and its figures: IC, rank IC and their information ratios.

One table (date, stock, score, return) and one summary serve the log, the test, the report and the
notebook, so that they cannot disagree.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

if TYPE_CHECKING:
    from alphazoo.data.days import DayBatch


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
    dates = np.sort(table["date"].unique())
    pairs = table.set_index("date")[["score", "return"]].astype("float64")
    pairs = pairs.replace([np.inf, -np.inf], np.nan).dropna()
    days = pairs.groupby(level="date")
    daily = pd.DataFrame(
        {
            "ic": _daily_pearson(pairs),
            "rank_ic": _daily_pearson(days.rank()),
            "stocks": days.size(),
        }
    ).reindex(pd.Index(dates, name="date"))
    daily["stocks"] = daily["stocks"].fillna(0).astype("int64")
    return daily


def _daily_pearson(pairs: pd.DataFrame) -> "pd.Series[float]":
    days = pairs.groupby(level="date")
    centred = pairs - days.transform("mean")
    x, y = centred["score"], centred["return"]
    sums = pd.DataFrame({"xy": x * y, "xx": x * x, "yy": y * y}).groupby(level="date").sum()
    correlation: pd.Series[float] = sums["xy"] / np.sqrt(sums["xx"] * sums["yy"])
    # exact, where a rounded mean would leave a variance of 1e-34
    constant = (days.max() == days.min()).any(axis=1)
    return correlation.where(~constant).clip(-1.0, 1.0)


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
    daily = daily_ic(table)
    figures: dict[str, float] = {}
    if "label" in table:
        errors = (table["score"].astype("float64") - table["label"]) ** 2
        figures["loss"] = float(errors.groupby(table["date"]).mean().mean())
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
