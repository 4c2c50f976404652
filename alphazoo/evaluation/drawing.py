"""How figures are drawn and written.

Colours stand for roles (`COLORS`); a page replaces them with those of its light or dark scheme.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.font_manager
from matplotlib.figure import Figure

from alphazoo.files import write_atomically

log = logging.getLogger(__name__)

SIZE = (5.2, 3.1)  # inches; one column of a page, or the full width of a phone
LETTERS = 78  # characters per line of a legend
INK, GRID, FIRST, SECOND, THIRD = "#1c2127", "#d5d9df", "#2f6ed3", "#c9662b", "#2f8f6b"
COLORS = {"ink": INK, "grid": GRID, "first": FIRST, "second": SECOND, "third": THIRD}
STYLE: Any = {
    "font.size": 9,
    "text.parse_math": False,  # names may have a $
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


# fonts that have letters of Chinese, Japanese and Korean names, on Linux, macOS and Windows
MORE_LETTERS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Droid Sans Fallback"),
    *("PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "SimHei", "Malgun Gothic"),
)


@cache
def _fonts() -> list[str]:
    known = set(mpl.font_manager.get_font_names())
    return ["sans-serif", *(name for name in MORE_LETTERS if name in known)]


@contextmanager
def _style() -> Iterator[None]:
    """The common style; letters that no font has are warned of once, not one by one."""
    with (
        mpl.rc_context({**STYLE, "font.family": _fonts()}),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        yield
    lacking = [w for w in caught if "missing from font" in str(w.message)]
    for warning in caught:
        if warning not in lacking:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    if lacking:
        _warn_of_letters()


@cache
def _warn_of_letters() -> None:
    log.warning(
        "no installed font has all letters of the names in the figures, which show boxes instead; "
        "install one, such as Noto Sans CJK"
    )


class _ShownFigure(Figure):
    """A figure that a notebook shows as the value of a cell, without pyplot."""

    def _repr_png_(self) -> bytes:
        image = BytesIO()
        with _style():
            self.savefig(image, format="png", dpi=110)
        return image.getvalue()


def draw(plot: Callable[..., None], *data: Any) -> Figure:
    """Draw a figure in the common style.

    Args:
        plot: Function that draws on the axes, its first argument, and labels them.
        data: Other arguments of ``plot``.
    """
    with _style():
        figure = _ShownFigure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        plot(axes, *data)
        labels = axes.get_legend_handles_labels()[1]
        if len(labels) > 1:
            columns = max(1, LETTERS // (7 + max(map(len, labels))))
            figure.legend(ncols=min(5, columns), loc="outside lower center")  # covers no line
    return figure


@contextmanager
def keep_layout(figure: Figure) -> Iterator[None]:
    """Lay a figure out once, however often it is drawn; matplotlib draws twice to lay out."""
    engine = figure.get_layout_engine()
    if engine is not None:
        with _style():
            engine.execute(figure)
    figure.set_layout_engine(None)
    yield
    figure.set_layout_engine(engine)


def to_svg(figure: Figure, colors: Mapping[str, str]) -> str:
    """Return the figure as an ``<svg>`` element.

    Args:
        figure: A figure made by `draw`.
        colors: The page's colour for each role of `COLORS`, such as ``"var(--ink)"``.
    """
    text = StringIO()
    with _style():
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    for role, color in COLORS.items():
        svg = svg.replace(color, colors[role])
    return svg


def to_png(figure: Figure, file: Path) -> None:
    """Write the figure as a PNG file with a white background."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with _style(), write_atomically(file) as beside:
        figure.savefig(beside, format="png", dpi=160)
