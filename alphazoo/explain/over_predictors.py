"""Which of several predictors a model scores each stock with."""

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from alphazoo.evaluation.drawing import FIRST, INK, SECOND, THIRD, draw
from alphazoo.evaluation.report import Table
from alphazoo.explain import definitions
from alphazoo.explain.explanation import Part, Seen
from alphazoo.explain.subject import Subject

NAME = "routes"  # of the probe


def show_predictors(subject: Subject, table: pd.DataFrame, seen: Seen) -> Part:
    """Show the predictors of the stocks of the last day, and how many each one has on all days.

    Args:
        subject: The model and its data.
        table: Columns ``symbol``, ``predictor`` and ``weight``, the probability of a predictor.
        seen: The last day.
    """
    part = Part("Predictors", {NAME: table}, definitions=dict(definitions.PREDICTORS))
    wide = table.pivot(index="symbol", columns="predictor", values="weight")
    chosen = wide.idxmax(axis=1)
    daily = _count(subject)
    part.tables["routed"] = daily
    part.metrics["largest_share"] = float(daily.groupby("date")["share"].max().mean())
    part.add(
        "routed",
        draw(_shares, daily),
        "Share of the stocks that are scored by each predictor, by day. One predictor for all "
        "stocks of a day says that the router tells days apart, not stocks.",
    )
    part.add(
        "routes",
        draw(_probabilities, wide),
        f"Probability that the router gives each predictor on {seen.date}: the mean over stocks, "
        "and the range from the 10th to the 90th percentile. A stock is scored by the most "
        "probable one.",
    )
    rows = [
        [symbol, str(chosen[symbol]), *(f"{p:.2f}" for p in wide.loc[symbol])]
        for symbol in seen.chosen
    ]
    part.page.append(Table(rows, ["stock", "scored by", *(f"predictor {k}" for k in wide)]))
    return part


@torch.no_grad()
def _count(subject: Subject) -> pd.DataFrame:
    """Return ``date, predictor, share``: the share of the stocks of a day by predictor."""
    frames = []
    for row in subject.rows:
        routes = subject.model.inside(subject.day(row), "predictors")[NAME].tensor  # [N, K]
        counts = routes.argmax(dim=1).bincount(minlength=routes.shape[1])
        shares = (counts / counts.sum()).numpy()
        frames.append(
            pd.DataFrame(
                {"date": subject.date(row), "predictor": range(len(shares)), "share": shares}
            )
        )
    return pd.concat(frames, ignore_index=True)


def _shares(axes: Axes, daily: pd.DataFrame) -> None:
    axes.set_title("Share of stocks by predictor")
    wide = daily.pivot(index="date", columns="predictor", values="share")
    for number, name in enumerate(wide):
        color, line = (FIRST, SECOND, THIRD, INK)[number % 4], ("-", "--", ":")[number // 4 % 3]
        axes.plot(
            wide.index,
            wide[name],
            color=color,
            linestyle=line,
            marker=".",
            label=f"predictor {name}",
        )
    axes.tick_params(axis="x", rotation=30)
    axes.set(xlabel="day", ylabel="share of stocks", ylim=(-0.02, 1.02))


def _probabilities(axes: Axes, wide: pd.DataFrame) -> None:
    axes.set_title("Probability of the predictors")
    mean, low, high = wide.mean(), wide.quantile(0.1), wide.quantile(0.9)
    axes.bar(mean.index, mean, color=FIRST, alpha=0.75)
    axes.vlines(mean.index, low, high, color=INK, linewidth=0.8)
    axes.set(xlabel="predictor", ylabel="probability")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
