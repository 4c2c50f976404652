"""What a model reads besides the stock itself: concepts, and neighbours on training days."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from alphazoo.evaluation.drawing import FIRST, INK, draw
from alphazoo.evaluation.figures import format_dates
from alphazoo.evaluation.report import Table
from alphazoo.explain import definitions
from alphazoo.explain.explanation import Part
from alphazoo.explain.heat import heat, name_cells, shrink

MOST = 20  # bars of a figure
LISTED = 3  # neighbours of a stock on the page


def show_concepts(tables: Mapping[str, pd.DataFrame], sectors: "pd.Series[str]", day: str) -> Part:
    """Show the concepts that stocks read, and the stocks around which hidden ones are built.

    Args:
        tables: Tables of a model's concepts.
        sectors: Sector of each symbol.
        day: The date.
    """
    part = Part("Concepts", dict(tables), definitions=dict(definitions.CONCEPTS))
    for name, table in tables.items():
        if {"symbol", "concept"} <= {*table}:
            groups = sectors.loc[table["symbol"].astype(str)].to_numpy()
            mean = table.groupby([groups, "concept"], observed=False)["weight"].mean().unstack()
            part.add(
                name,
                draw(_read, mean),
                f"Weight with which the stocks of a row's sector read the concept of a column on "
                f"{day}, mean over stocks; the weights of a stock sum to 1. A concept that is read "
                "need not change the score.",
            )
        elif {"symbol", "other"} <= {*table}:
            received = table.groupby("other", observed=True)["weight"].mean()
            part.add(
                name,
                draw(_hidden, received * len(received)),
                f"Hidden concepts that are read most on {day}, named by the stock around which "
                "they are built: their mean weight over equal shares. Their meaning is that of "
                "their members.",
            )
        elif "concept" in table:
            part.add(
                name,
                draw(_strengths, table),
                "Strength of the relation between two stocks that share a concept, for those "
                f"concepts with the largest strengths of {len(table)}. It enters the attention "
                "beside the states of the stocks, so a strong relation need not be read most.",
            )
    return part


def show_neighbours(tables: Mapping[str, pd.DataFrame], symbols: Sequence[str], day: str) -> Part:
    """Show the training days and stocks that a model compares with.

    Args:
        tables: Tables of a model's neighbours.
        symbols: The chosen stocks, whose neighbours are listed.
        day: The date.
    """
    part = Part("Neighbours", dict(tables), definitions=dict(definitions.NEIGHBOURS))
    for name, table in tables.items():
        if "symbol" not in table:
            part.add(
                name,
                draw(_days, table),
                f"Training days whose mean state is most similar to that of {day}, by cosine. Only "
                "their stocks are searched. Similar states need not have similar returns.",
            )
            continue
        share = table["symbol"].astype(str).to_numpy() == table["other"].to_numpy()
        part.metrics[f"{name}/same_stock"] = float(share.mean())
        part.notes.append(
            f"{share.mean():.1%} of the neighbours on {day} are the stock itself on a training day."
        )
        part.add(
            f"{name}_stocks",
            draw(_often, table["other"].value_counts().head(MOST)),
            f"Stocks that are neighbours most often, of all {table['symbol'].nunique()} stocks of "
            f"{day}. The score uses their states, not their returns.",
        )
        part.page.append(_list(table, symbols))
    return part


def _list(table: pd.DataFrame, symbols: Sequence[str]) -> Table:
    rows = []
    for symbol in symbols:
        own = table[table["symbol"] == symbol].nsmallest(LISTED, "neighbour")
        cells = [
            f"{other} {date:%Y-%m-%d} ({weight:.2f})"
            for other, date, weight in zip(
                own["other"], own["other_date"], own["weight"], strict=True
            )
        ]
        rows.append([symbol, *cells, *[""] * (LISTED - len(cells))])
    return Table(rows, ["stock", *(f"neighbour {number + 1}" for number in range(LISTED))])


def _read(axes: Axes, mean: pd.DataFrame) -> None:
    axes.set_title("Concepts that are read")
    values = shrink(mean.to_numpy()) * mean.shape[1] - 1
    heat(axes, values, unit="weight over equal shares - 1", signed=True, least=0.1)
    name_cells(axes, [*map(str, mean.index)], rows=True)
    name_cells(axes, [*map(str, mean.columns)], rows=False)
    axes.set(xlabel="concept", ylabel="sector of the stock")


def _hidden(axes: Axes, received: "pd.Series[float]") -> None:
    axes.set_title("Hidden concepts that are read most")
    top = received.nlargest(MOST)[::-1]
    axes.barh([*map(str, top.index)], top, color=FIRST, alpha=0.75)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.tick_params(axis="y", labelsize=7)
    axes.set(xlabel="mean weight, over equal shares", ylabel="stock of the concept")


def _strengths(axes: Axes, table: pd.DataFrame) -> None:
    axes.set_title("Strength of relations")
    top = table.loc[table["weight"].abs().nlargest(MOST).index[::-1]]
    axes.barh(top["concept"].astype(str), top["weight"], color=FIRST, alpha=0.75)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.tick_params(axis="y", labelsize=7)
    axes.set(xlabel="strength", ylabel="concept")


def _days(axes: Axes, table: pd.DataFrame) -> None:
    axes.set_title("Most similar training days")
    axes.vlines(table["other_date"], 0, table["weight"], color=FIRST)
    axes.plot(table["other_date"], table["weight"], "o", ms=4, color=FIRST)
    axes.set_ylim(min(0.0, float(np.min(table["weight"]))), 1.05)
    axes.set(xlabel="training day", ylabel="cosine of mean states")
    format_dates(axes)


def _often(axes: Axes, counts: "pd.Series[int]") -> None:
    axes.set_title("Stocks that are neighbours most often")
    top = counts[::-1]
    axes.barh([*map(str, top.index)], top, color=FIRST, alpha=0.75)
    axes.tick_params(axis="y", labelsize=7)
    axes.set(xlabel="times a neighbour", ylabel="stock of a training day")
