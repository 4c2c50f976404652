"""Which stocks a stock attends to: the matrix of a day, its sectors, and both over time."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from alphazoo.data.days import DayBatch
from alphazoo.evaluation.drawing import draw
from alphazoo.evaluation.report import number, percent, text_table
from alphazoo.explain import definitions
from alphazoo.explain.bars import plot_bars
from alphazoo.explain.explanation import Part
from alphazoo.explain.heat import shrink
from alphazoo.explain.sectors import (
    ROLLING,
    Groups,
    connectedness_table,
    mean_correlation,
    rotation_table,
    sector_matrix,
    sector_table,
    sectors_of,
    within_lift,
)
from alphazoo.explain.stock_figures import (
    plot_contagion,
    plot_matrix,
    plot_rotation,
    plot_sector_lift,
)
from alphazoo.explain.stocks import (
    adjusted_rand_index,
    attended_stocks,
    cluster_tree,
    cut_tree,
    difference_of_rows,
    order_of_leaves,
    stock_matrix,
)
from alphazoo.explain.subject import Subject

EQUAL = 0.95  # part of the stocks that are attended to, above which weights are called equal
ALIKE = 0.1  # difference of the rows of a matrix below which a vector is shown instead


class _Days(NamedTuple):
    """Tables of all days, and the matrix of the last one."""

    totals: pd.DataFrame
    sectors: pd.DataFrame
    connectedness: pd.DataFrame
    day: DayBatch
    matrix: Tensor
    groups: Groups


def show_stocks(subject: Subject, *, sectors: bool) -> Part:
    """Show which stocks a stock attends to on the last day, and the sectors on all days.

    Args:
        subject: The model and its data.
        sectors: Whether to show sectors; otherwise there are none.
    """
    found = _look(subject)
    part = Part("Attention between stocks", definitions=dict(definitions.STOCKS))
    part.tables["attention_by_day"] = found.totals
    _show_matrix(part, subject, found, sectors)
    if sectors:
        part.definitions |= definitions.SECTORS
        _show_sectors(part, found)
    return part


def _look(subject: Subject) -> _Days:
    totals, sectors, connected = [], [], []
    for row in subject.rows:
        day, date = subject.day(row), subject.date(row)
        matrix = stock_matrix(subject.model.inside(day))
        groups = sectors_of(day, subject.concepts)
        b = sector_matrix(matrix, groups)
        table = connectedness_table(b, groups)
        sectors.append(sector_table(b, groups).assign(date=date))
        connected.append(table.assign(date=date))
        totals.append(
            {
                "date": date,
                "stocks": len(day.stocks),
                "attended": float(attended_stocks(matrix).mean()),
                "difference_of_rows": difference_of_rows(matrix),
                "total": float(table["from_others"].mean()),
                "within_lift": within_lift(b, groups),
                **_market(subject, row, day),
            }
        )
    parts = (pd.concat(frames, ignore_index=True) for frames in (sectors, connected))
    by_day, by_sector = (frame[["date", *frame.columns.drop("date")]] for frame in parts)
    return _Days(pd.DataFrame(totals), by_day, by_sector, day, matrix, groups)


def _market(subject: Subject, row: int, day: DayBatch) -> dict[str, float]:
    """Return the mean correlation of the last returns, and the return, of the day's stocks."""
    close = subject.data.market.field("close")[max(0, row - ROLLING) : row + 1, day.stocks].double()
    returns = (close[1:] / close[:-1] - 1).numpy()
    whole = returns[:, np.isfinite(returns).all(axis=0)]
    last = returns[-1:][np.isfinite(returns[-1:])]
    return {
        "mean_correlation": mean_correlation(whole) if len(returns) == ROLLING else np.nan,
        "return": float(last.mean()) if len(last) else np.nan,
    }


def _show_matrix(part: Part, subject: Subject, found: _Days, sectors: bool) -> None:
    matrix, groups, n = found.matrix, found.groups, len(found.matrix)
    symbols, date = subject.symbols(found.day), found.totals["date"].iloc[-1]
    received = matrix.mean(dim=0) * n
    tree = cluster_tree(matrix)
    order = order_of_leaves(tree, n)
    table = pd.DataFrame({"date": date, "symbol": symbols})
    if sectors:
        table["sector"] = np.array(groups.names)[groups.codes.numpy()]
        order = order[np.argsort(groups.codes.numpy()[order], kind="stable")]
    n_clusters = len(groups.names) if sectors else 10
    clusters = cut_tree(tree, n, n_clusters)
    table["cluster"] = clusters
    table["attended"] = attended_stocks(matrix).numpy()
    table["received"] = received.numpy()
    part.tables["attended_stocks"] = table
    part.metrics["attended"] = float(table["attended"].mean())
    part.metrics["difference_of_rows"] = difference_of_rows(matrix)
    if sectors:
        agreement = adjusted_rand_index(clusters, groups.codes.numpy())
        part.metrics["adjusted_rand_index"] = agreement
        part.notes.append(
            f"Clusters of stocks that attend to the same stocks agree with the sectors by an "
            f"adjusted Rand index of {agreement:.2f} (1: equal, 0: chance)."
        )
    part.notes.append(
        f"A stock attends to {part.metrics['attended']:.1f} stocks effectively, of {n} on "
        f"{date:%Y-%m-%d}."
    )
    part.add(
        "received",
        draw(
            plot_bars,
            table.set_index("symbol")["received"],
            "Stocks that are attended to most",
            ("mean weight, over equal shares", "stock"),
            1.0,
        ),
        f"Which stocks the others attend to on {date:%Y-%m-%d}: the mean of their weights, over "
        "equal shares. It does not say whether attention to them improves the scores.",
    )
    if part.metrics["difference_of_rows"] < ALIKE:
        equal = part.metrics["attended"] > EQUAL * n
        part.notes.append(
            "There is no matrix, because all stocks attend to nearly the same stocks: the rows "
            f"differ from their mean by {part.metrics['difference_of_rows']:.1%}. "
            + (
                f"Nearly all weights are equal shares (1 / {n})."
                if equal
                else "Additive attention, whose logit is a term of stock i plus a term of stock j, "
                "does this on a complete graph, and so do cosines of states that are alike."
            )
        )
        return
    by = "sector, then cluster" if sectors else "cluster"
    part.add(
        "attention_matrix",
        draw(plot_matrix, shrink(matrix.numpy()[np.ix_(order, order)] * n), by),
        f"Weight with which the stock of a row attends to the stock of a column on "
        f"{date:%Y-%m-%d}, over equal shares (1 / {n}); mean over heads, layers and days of the "
        "window, where there are several; stocks ordered "
        f"by {by}. The model looks at these stocks; they need not move its scores.",
    )


def _show_sectors(part: Part, found: _Days) -> None:
    mean = found.sectors.groupby(["sector", "other"], sort=False)[["share", "lift"]].mean()
    lift = mean["lift"].unstack()
    lift = lift[lift.index]
    connected = found.connectedness.groupby("sector", sort=False)[
        ["stocks", "from_others", "to_others", "net", "to_lift"]
    ].mean()
    part.tables |= {"sectors": found.sectors, "connectedness": found.connectedness}
    part.metrics["within_lift"] = float(found.totals["within_lift"].mean())
    part.metrics["total"] = float(found.totals["total"].mean())
    n_days = len(found.totals)
    span = f"mean of {n_days} days" if n_days > 1 else "one day"
    part.add(
        "sector_lift",
        draw(plot_sector_lift, lift),
        f"Attention of the stocks of a row's sector to those of a column's, over their part of the "
        f"stocks ({span}); 1 is chance. Lift within a sector is "
        f"{part.metrics['within_lift']:.2f}. Where the model's graph is given by the sectors, lift "
        "follows from the graph and is not learned.",
    )
    part.page.append(
        text_table(
            connected,
            {
                "stocks": number(0),
                "from_others": percent(1),
                "to_others": percent(1),
                "net": percent(1),
                "to_lift": number(2),
            },
        )
    )
    if not found.totals["total"].gt(0).any():
        part.notes.append(
            "No stock attends to another sector, as in a graph that joins only stocks of one "
            "sector: there is no rotation of sectors, and no total to compare."
        )
        return
    if len(found.totals) < 2:
        return
    rotation = rotation_table(found.connectedness)
    part.tables["rotation"] = rotation
    leaders = rotation.loc[rotation["leader"], "sector"]
    wide = rotation.pivot(index="sector", columns="date", values="to_lift").loc[connected.index]
    part.add(
        "rotation",
        draw(plot_rotation, wide),
        f"Attention that a sector receives from the others, over chance, as a rolling mean of "
        f"{ROLLING} days. Changes of the leader: {int((leaders.shift() != leaders).sum()) - 1}. "
        "It is what the model looks at, not which sector has the highest returns.",
    )
    part.add("contagion", draw(plot_contagion, found.totals), _contagion_caption(found.totals))


def _contagion_caption(totals: pd.DataFrame) -> str:
    known = totals.dropna(subset=["total", "mean_correlation"])
    agreement = known["total"].rank().corr(known["mean_correlation"].rank())
    value = f"{agreement:.2f}" if agreement == agreement else "undefined"
    return (
        "Attention to other sectors (total), beside the mean pairwise correlation of the stocks' "
        f"returns over the last {ROLLING} days and the drawdown of their mean return; the rank "
        f"correlation of both lines is {value}. Where both lines are one, the model tells nothing "
        "that prices do not. The names are those of Diebold and Yilmaz's connectedness, but this "
        "is attention, not variance of forecast errors: it does not measure contagion itself."
    )
