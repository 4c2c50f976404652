"""How figures are drawn and written.

Colours stand for roles (`COLORS`); a page replaces them with those of its light or dark scheme.
"""

from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from alphazoo.files import write_atomically

SIZE = (5.2, 3.1)  # inches; one column of a page, or the full width of a phone
LETTERS = 78  # characters per line of a legend
INK, GRID, FIRST, SECOND, THIRD = "#1c2127", "#d5d9df", "#2f6ed3", "#c9662b", "#2f8f6b"
COLORS = {"ink": INK, "grid": GRID, "first": FIRST, "second": SECOND, "third": THIRD}
STYLE: Any = {
    "font.size": 9,
    "font.family": "sans-serif",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "svg.fonttype": "none",  # keep text as text
    "svg.hashsalt": "alphazoo",  # the same figure gives the same file
}


def draw(plot: Callable[..., None], *data: Any) -> Figure:
    """Draw a figure in the common style.

    Args:
        plot: Function that draws on the axes, its first argument, and labels them.
        data: Other arguments of ``plot``.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        plot(axes, *data)
        labels = axes.get_legend_handles_labels()[1]
        if len(labels) > 1:
            columns = max(1, LETTERS // (4 + max(map(len, labels))))
            figure.legend(ncols=min(5, columns), loc="outside lower center")  # covers no line
    return figure


def to_svg(figure: Figure, colors: Mapping[str, str]) -> str:
    """Return the figure as an ``<svg>`` element.

    Args:
        figure: A figure made by `draw`.
        colors: The page's colour for each role of `COLORS`, such as ``"var(--ink)"``.
    """
    text = StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    for role, color in COLORS.items():
        svg = svg.replace(color, colors[role])
    return svg


def to_png(figure: Figure, file: Path) -> None:
    """Write the figure as a PNG file with a white background."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE), write_atomically(file) as beside:
        figure.savefig(beside, format="png", dpi=160)
