"""The score table and its metrics: IC, rank IC and their information ratios.

The logs, the report and notebooks all use this one table (date, stock, score, return) and this one
summary, so they cannot disagree.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

Panel = npt.NDArray[np.float64]  # [D, N], NaN for no value
Rows = npt.NDArray[np.integer]

BLOCK = 2**16  # rows that the score table allocates at once: 1.8 MB


def daily_ic(table: pd.DataFrame) -> pd.DataFrame:
    """Return the correlation of scores and returns across the stocks of each day.

    Args:
        table: Columns ``date``, ``score``, ``return`` (raw forward return, a fraction), with rows
            in any order. Rows whose score or return is not finite are ignored.

    Returns:
        One row per date: ``ic`` (Pearson), ``rank_ic`` (Spearman, average ranks for ties),
        ``stocks`` (number of finite pairs). An IC is undefined, NaN, if there are fewer than two
        pairs or if all scores or all returns are equal.
    """
    days, dates = pd.factorize(table["date"], sort=True)
    places = table.groupby(days).cumcount().to_numpy()
    scores, returns = (to_panel(table[name], days, places) for name in ("score", "return"))
    return correlate(scores, returns).set_index(pd.Index(dates, name="date"))


def to_panel(values: npt.ArrayLike, days: Rows, places: Rows, width: int = 0) -> Panel:
    """Arrange values [R] as a panel [D, N], each at its day and place; NaN elsewhere."""
    shape = days.max(initial=-1) + 1, max(places.max(initial=-1) + 1, width)
    panel = np.full(shape, np.nan)
    panel[days, places] = values
    return panel


def correlate(scores: Panel, returns: Panel) -> pd.DataFrame:
    """Return the columns of `daily_ic` for two panels [D, N]."""
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
    """Return the correlation [D] of the rows of two panels [D, N] with NaN in the same places.

    Each row is first scaled by a power of two, so that values of any size can be squared.
    """
    known = np.isfinite(x)
    counts = np.maximum(known.sum(axis=1, keepdims=True), 1)
    centred = []
    for panel in (x, y):
        filled = np.where(known, panel, 0.0)
        filled = to_unit(filled, np.abs(filled).max(axis=1, keepdims=True, initial=0.0))
        for _ in range(2):  # the second pass removes the rounding error of the first mean
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

    Sums and squares of float64 values can overflow or underflow; those of the result cannot.

    Args:
        x: Values, at most ``largest`` in absolute value.
        largest: Broadcasts to x. Values are divided by the power of two above it, by 1 if it is 0.
    """
    scaled: Panel = np.ldexp(x, -np.frexp(largest)[1])
    return scaled


def is_constant(panel: Panel) -> npt.NDArray[np.bool_]:
    """Return whether all values of a day are equal: [D], exact unlike a rounded variance."""
    lowest = np.fmin.reduce(panel, axis=1, initial=np.inf)
    constant: npt.NDArray[np.bool_] = lowest >= np.fmax.reduce(panel, axis=1, initial=-np.inf)
    return constant


def day_ranks(panel: Panel) -> Panel:
    """Rank the values within each day of a panel [D, N] from 1; ties get their mean, NaN none."""
    return pd.DataFrame(panel).rank(axis=1).to_numpy()


def summary(table: pd.DataFrame) -> dict[str, float]:
    """Return the metrics of a score table: means over days with equal weight.

    Args:
        table: As for `daily_ic`; a column ``label`` adds the loss.

    Returns:
        ``ic`` and ``rank_ic``, means over the days on which they are defined; ``icir`` and
        ``rank_icir``, mean / standard deviation (ddof 1) over days, not annualised; ``days``, their
        number; ``undefined_days``, the number without IC; ``loss``, the mean over days of the daily
        mean squared error against finite labels.
    """
    metrics: dict[str, float] = {}
    if "label" in table:
        errors = (table["score"].astype("float64") - table["label"]) ** 2
        metrics["loss"] = float(errors.groupby(table["date"]).mean().mean())
    return metrics | summarise_days(daily_ic(table))


def summarise_days(daily: pd.DataFrame) -> dict[str, float]:
    """Return the metrics of `summary`, except the loss, from a table of `daily_ic`."""
    metrics: dict[str, float] = {}
    for name in ("ic", "rank_ic"):
        values = daily[name].dropna()
        metrics[name] = float(values.mean())
        metrics[name + "ir"] = float(values.mean() / values.std(ddof=1))
    metrics["days"] = len(daily)
    metrics["undefined_days"] = int(daily["ic"].isna().sum())
    return metrics


class ScoredDay(Protocol):
    """What the score table keeps of a day: see `alphazoo.data.days.DayBatch`."""

    @property
    def date(self) -> Tensor:
        """[], row of the calendar."""
        ...

    @property
    def stocks(self) -> Tensor:
        """[N], columns of the universe."""
        ...

    @property
    def labels(self) -> Tensor:
        """[N], NaN where unknown."""
        ...

    @property
    def returns(self) -> Tensor:
        """[N], raw forward return; NaN where unknown."""
        ...


class ScoreTable(Metric):
    """Collects the scores of days and merges them exactly over processes.

    Rows are keyed by date and stock, so a day that a distributed sampler repeats counts once.
    ``compute()`` returns the table, ``summary(metric.compute())`` its metrics.

    Days are written into large blocks. Small tensors that outlive their day would lie between the
    large temporary ones of the model, and the memory of these could then not be used again.
    """

    full_state_update = False
    date: list[Tensor]  # [B] each; -1 in rows that are not used
    stock: list[Tensor]  # [B] each
    rows: list[Tensor]  # [B, 3] each: score, label, return
    _used = 0  # rows of the last block

    def __init__(self) -> None:
        super().__init__()
        self.add_state("date", default=[], dist_reduce_fx="cat")
        self.add_state("stock", default=[], dist_reduce_fx="cat")
        self.add_state("rows", default=[], dist_reduce_fx="cat")

    def update(self, day: ScoredDay, scores: Tensor) -> None:
        """Add the scores [N] of a day."""
        if not self.date or self._used + len(scores) > len(self.date[-1]):
            self._add_block(max(BLOCK, len(scores)), scores.device)
        place = slice(self._used, self._used + len(scores))
        self.date[-1][place] = day.date
        self.stock[-1][place] = day.stocks
        for column, values in enumerate((scores.detach(), day.labels, day.returns)):
            self.rows[-1][place, column] = values
        self._used = place.stop

    def _add_block(self, size: int, device: torch.device) -> None:
        self.date.append(torch.full((size,), -1, device=device))
        self.stock.append(torch.empty(size, dtype=torch.long, device=device))
        self.rows.append(torch.empty(size, 3, device=device))
        self._used = 0

    def compute(self) -> pd.DataFrame:
        """Return all rows, each (date, stock) once, sorted by both.

        Returns:
            Columns ``date`` (row of the calendar), ``stock`` (column of the universe), ``score``,
            ``label``, ``return``.

        Raises:
            ValueError: No day has been scored.
        """
        if len(self.date) == 0:
            raise ValueError("the score table has no rows: no day was scored")
        table = pd.DataFrame(
            {"date": dim_zero_cat(self.date).cpu(), "stock": dim_zero_cat(self.stock).cpu()}
        )
        table[["score", "label", "return"]] = dim_zero_cat(self.rows).cpu().numpy()
        table = table[table["date"] >= 0].drop_duplicates(["date", "stock"])
        table = table.sort_values(["date", "stock"])
        return table.reset_index(drop=True)
