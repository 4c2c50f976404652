"""Heat maps, whose colours are seen on a light and on a dark page: 0 is transparent."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb

from alphazoo.evaluation.drawing import FIRST, SECOND

Array = npt.NDArray[Any]

CELLS = 300  # rows or columns; more are averaged
LABELS = 20  # labels of an axis
STEPS = [digit * 10**power for power in range(9) for digit in (1, 2, 5)]


def heat(
    axes: Axes,
    values: Array,
    *,
    unit: str,
    signed: bool = False,
    least: float = 0.0,
) -> None:
    """Draw a matrix, its first row on top, with a colour bar.

    Args:
        axes: Where to draw.
        values: [rows, columns]; NaN is empty.
        unit: Label of the colour bar.
        signed: Negative values have another colour; otherwise values start at 0.
        least: Lowest value of the full colour, which is the 99.5th percentile otherwise.
    """
    known = np.abs(values[np.isfinite(values)])
    top = max(float(np.quantile(known, 0.995)) if len(known) else 0.0, least) or 1.0
    first, second = (*to_rgb(FIRST), 1.0), (*to_rgb(SECOND), 1.0)
    clear = (*to_rgb(FIRST), 0.0)
    colors = [second, (*to_rgb(SECOND), 0.0), clear, first] if signed else [clear, first]
    places = [0.0, 0.5, 0.5, 1.0] if signed else [0.0, 1.0]
    scale = LinearSegmentedColormap.from_list("heat", [*zip(places, colors, strict=True)])
    image = axes.imshow(
        values,
        aspect="auto",
        cmap=scale,
        vmin=-top if signed else 0,
        vmax=top,
        origin="upper",
        interpolation="nearest",  # the default blurs cells into their neighbours
    )
    bar = axes.figure.colorbar(image, ax=axes, label=unit, pad=0.02, fraction=0.05)
    if signed:  # the colours are symmetric, the bar is not: a lift - 1 below -1 cannot be
        lowest = -float(values[np.isfinite(values)].min(initial=0.0))
        bar.ax.set_ylim(-min(top, max(least, lowest)), top)
    if bar.solids is not None:
        bar.solids.set_rasterized(True)
    bar.outline.set(visible=False)
    axes.grid(visible=False)


def shrink(values: Array, cells: int = CELLS) -> Array:
    """Average neighbouring rows and columns of a matrix, so that it has at most that many."""
    for axis in (0, 1):
        size = values.shape[axis]
        if size > cells:
            edges = np.linspace(0, size, cells, endpoint=False).astype(int)
            counts = np.diff([*edges, size])
            summed = np.add.reduceat(values, edges, axis=axis)
            values = summed / (counts[:, None] if axis == 0 else counts)
    return values


def name_cells(axes: Axes, names: Sequence[str], *, rows: bool, width: int = 22) -> None:
    """Label rows or columns of a heat map; of many, only every second, third, ..."""
    step = -(-len(names) // LABELS)
    places = [*range(0, len(names), step)]
    texts = [shorten_name(names[place], width) for place in places]
    if rows:
        axes.set_yticks(places, texts, fontsize=7)
    else:
        axes.set_xticks(places, texts, fontsize=7, rotation=90)


def name_steps(axes: Axes, steps: Array, columns: int) -> None:
    """Label the columns of a heat map with some of the steps that they show, of all [steps].

    From the last one, each, every second, fifth, tenth, ..., so that there are at most ten.
    """
    every = next(size for size in STEPS if len(steps) <= 10 * size)
    chosen = np.arange(len(steps) - 1, -1, -every)[::-1]
    places = (chosen + 0.5) * columns / len(steps) - 0.5
    axes.set_xticks(places, [str(steps[place]) for place in chosen])


def name_days(axes: Axes, dates: pd.DatetimeIndex, columns: int) -> None:
    """Label the columns of a heat map with five of the days that they show."""
    places = np.unique(np.linspace(0, len(dates) - 1, 5).astype(int))
    texts = [f"{dates[place]:%Y-%m-%d}" for place in places]
    axes.set_xticks((places + 0.5) * columns / len(dates) - 0.5, texts, fontsize=7)


def shorten_name(name: str, width: int = 22) -> str:
    """Cut a long name."""
    return name if len(name) <= width else f"{name[: width - 1]}\u2026"
