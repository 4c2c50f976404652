"""Horizontal bars of the largest of some named numbers."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from alphazoo.evaluation.drawing import FIRST, INK, SECOND

MOST = 16  # bars of a figure, whose names do not touch


def plot_bars(
    axes: Axes,
    values: "pd.Series[float]",
    title: str,
    labels: tuple[str, str],
    chance: float | None = None,
) -> None:
    """Draw bars of the numbers that are largest in size, the largest on top.

    Args:
        axes: Where to draw.
        values: Numbers by name; negative ones have another colour.
        title: Title of the figure.
        labels: Label of the numbers, with their unit, and label of the names.
        chance: Where to draw a line.
    """
    top = values.loc[values.abs().nlargest(MOST).index].sort_values()
    colors = [FIRST if value >= 0 else SECOND for value in top]
    axes.barh([*map(str, top.index)], top, color=colors, alpha=0.75)
    if chance is not None:
        axes.axvline(chance, color=INK, linewidth=0.8)
    axes.tick_params(axis="y", labelsize=7)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.ticklabel_format(axis="x", scilimits=(-3, 4))  # long numbers would touch
    axes.set(title=title, xlabel=labels[0], ylabel=labels[1])
