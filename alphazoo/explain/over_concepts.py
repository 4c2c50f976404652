"""What a model reads besides the stock itself: concepts, and neighbours on training days."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from alphazoo.evaluation.drawing import FIRST, draw
from alphazoo.evaluation.figures import format_dates
from alphazoo.evaluation.report import Table
from alphazoo.explain import definitions
from alphazoo.explain.bars import plot_bars
from alphazoo.explain.explanation import Part, Seen
from alphazoo.explain.heat import heat, name_cells, shrink

LISTED = 3  # neighbours of a stock on the page


def show_concepts(tables: Mapping[str, pd.DataFrame], seen: Seen) -> Part:
    """Show the concepts that stocks read, and the stocks around which hidden ones are built.

    Args:
        tables: Tables of a model's concepts.
        seen: The day.
    """
    part = Part("Concepts", dict(tables), definitions=dict(definitions.CONCEPTS))
    for name, table in tables.items():
        if {"symbol", "concept"} <= {*table}:
            groups = seen.sectors.loc[table["symbol"].astype(str)].to_numpy()
            mean = table.groupby([groups, "concept"], observed=False)["weight"].mean().unstack()
            own = [concept for concept in mean.columns if concept in mean.index]
            mean = mean.loc[[*own, *mean.index.difference(own)]]  # stocks of no sector are last
            part.add(
                name,
                draw(_read, mean),
                f"Weight with which the stocks of a row's sector read the concept of a column on "
                f"{seen.date}, mean over stocks; the weights of a stock sum to 1. A concept that "
                "is read need not change the score.",
            )
        elif {"symbol", "other"} <= {*table}:
            received = table.groupby("other", observed=True)["weight"].mean()
            part.add(
                name,
                draw(
                    plot_bars,
                    received * len(received),
                    "Hidden concepts that are read most",
                    ("mean weight, over equal shares", "stock of the concept"),
                    1.0,
                ),
                f"Hidden concepts that are read most on {seen.date}, named by the stock around "
                "which they are built: their mean weight over equal shares. Their meaning is that "
                "of their members.",
            )
        elif "concept" in table and "other" not in table:  # not which stocks a concept holds
            part.add(
                name,
                draw(
                    plot_bars,
                    table.set_index("concept")["weight"],
                    "Strength of relations",
                    ("strength", "concept"),
                    0.0,
                ),
                "Strength of the relation between two stocks that share a concept, for those "
                f"concepts with the largest strengths of {len(table)}. It enters the attention "
                "beside the states of the stocks, so a strong relation need not be read most.",
            )
    return part


def show_neighbours(tables: Mapping[str, pd.DataFrame], seen: Seen) -> Part:
    """Show the training days and stocks that a model compares with.

    Args:
        tables: Tables of a model's neighbours.
        seen: The day.
    """
    part = Part("Neighbours", dict(tables), definitions=dict(definitions.NEIGHBOURS))
    for name, table in tables.items():
        if "symbol" not in table:
            part.add(
                name,
                draw(_days, table),
                f"Training days whose mean state is most similar to that of {seen.date}, by "
                "cosine. Only their stocks are searched. Similar states need not have similar "
                "returns.",
            )
            continue
        share = table["symbol"].astype(str).to_numpy() == table["other"].to_numpy()
        part.metrics[f"{name}/same_stock"] = float(share.mean())
        part.notes.append(
            f"{share.mean():.1%} of the neighbours on {seen.date} are the stock itself on a "
            "training day."
        )
        part.add(
            f"{name}_stocks",
            draw(
                plot_bars,
                table["other"].value_counts(),
                "Stocks that are neighbours most often",
                ("times a neighbour", "stock of a training day"),
            ),
            f"Stocks that are neighbours most often, of all {table['symbol'].nunique()} stocks of "
            f"{seen.date}. The score uses their states, not their returns.",
        )
        part.page.append(_list(table, seen.chosen))
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


def _days(axes: Axes, table: pd.DataFrame) -> None:
    axes.set_title("Most similar training days")
    axes.vlines(table["other_date"], 0, table["weight"], color=FIRST)
    axes.plot(table["other_date"], table["weight"], "o", ms=4, color=FIRST)
    axes.set_ylim(min(0.0, float(np.min(table["weight"]))), 1.05)
    axes.set(xlabel="training day", ylabel="cosine of mean states")
    format_dates(axes)
