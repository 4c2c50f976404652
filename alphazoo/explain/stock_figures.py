"""Figures of attention between stocks and sectors; one function draws one."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from alphazoo.evaluation.drawing import FIRST, INK, SECOND, THIRD
from alphazoo.evaluation.figures import format_dates
from alphazoo.explain.heat import heat, name_cells, name_days, shrink


def plot_matrix(axes: Axes, values: np.ndarray, by: str) -> None:
    """A heat map of a matrix of stocks, times N."""
    axes.set_title("Attention of stocks to stocks")
    heat(axes, values, unit="weight, over equal shares")
    axes.set(xlabel=f"attended stock, by {by}", ylabel="stock", xticks=[], yticks=[])


def plot_sector_lift(axes: Axes, lift: pd.DataFrame) -> None:
    """A heat map of the lift of sectors."""
    axes.set_title("Attention of sectors to sectors")
    heat(axes, lift.to_numpy() - 1, unit="lift - 1 (0: chance)", signed=True, least=0.1)
    name_cells(axes, [*map(str, lift.index)], rows=True)
    name_cells(axes, [*map(str, lift.columns)], rows=False)
    axes.set(xlabel="attended sector", ylabel="sector")


def plot_rotation(axes: Axes, wide: pd.DataFrame) -> None:
    """A heat map of sectors by day."""
    axes.set_title("Attention received from other sectors")
    values = shrink(wide.to_numpy()) - 1
    heat(axes, values, unit="lift - 1 (0: chance)", signed=True, least=0.1)
    name_cells(axes, [*map(str, wide.index)], rows=True)
    name_days(axes, pd.DatetimeIndex(wide.columns), values.shape[1])
    axes.set(xlabel="day", ylabel="sector")


def plot_contagion(axes: Axes, totals: pd.DataFrame) -> None:
    """Curves of attention and correlation, and the drawdown."""
    axes.set_title("Attention between sectors and correlation")
    dates = totals["date"]
    wealth = (1 + totals["return"].fillna(0)).cumprod()
    axes.plot(dates, totals["total"], color=FIRST, label="attention to other sectors")
    axes.plot(dates, totals["mean_correlation"], color=SECOND, label="mean correlation of returns")
    fall = wealth / wealth.cummax() - 1
    axes.fill_between(dates, fall, 0, color=THIRD, alpha=0.4, linewidth=0, label="drawdown")
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_ylabel("share, correlation, fraction")
    format_dates(axes)
