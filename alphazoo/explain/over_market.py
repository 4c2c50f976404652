"""What a model reads of the market: the class of its return, from the windows of the stocks."""

import pandas as pd
import torch
from matplotlib.axes import Axes

from alphazoo.evaluation.drawing import FIRST, INK, SECOND, draw
from alphazoo.explain import definitions
from alphazoo.explain.explanation import Part
from alphazoo.explain.subject import Subject
from alphazoo.models.add import ADD, CLASSES

NAMES = ("low", "medium", "high")


def show_market(subject: Subject, table: pd.DataFrame) -> Part:
    """Show the probabilities of the classes of the market's return, by day.

    Args:
        subject: The model and its data.
        table: Columns ``symbol``, ``class`` and ``weight``, the probability of a class, of the
            last day.
    """
    part = Part("Market", {"market": table}, definitions=dict(definitions.MARKET))
    daily = _by_day(subject)
    part.tables["market_by_day"] = daily
    wide = daily.pivot(index="date", columns="class", values="probability")
    actual = daily.groupby("date")["actual"].first().dropna()
    if len(actual):
        part.metrics["hits"] = float((wide.loc[actual.index].idxmax(axis=1) == actual).mean())
    part.add(
        "market",
        draw(_probabilities, wide),
        "Probability of a low, medium and high return of the market, mean over the stocks of each "
        "day. The score is made of the other encoder, which is trained not to know it.",
    )
    return part


@torch.no_grad()
def _by_day(subject: Subject) -> pd.DataFrame:
    """Return ``date, class, probability, actual``, a row for each day and class."""
    assert isinstance(subject.model, ADD)
    frames = []
    for row in subject.rows:
        day = subject.day(row)
        means = subject.model.inside(day, "market")["market"].tensor.mean(dim=0)  # [classes]
        known = bool(day.returns.isfinite().any())
        frames.append(
            pd.DataFrame(
                {
                    "date": subject.date(row),
                    "class": range(CLASSES),
                    "probability": means.numpy(),
                    "actual": int(subject.model.market_class(day)) if known else None,
                }
            ).astype({"actual": "Int64"})
        )
    return pd.concat(frames, ignore_index=True)


def _probabilities(axes: Axes, wide: pd.DataFrame) -> None:
    axes.set_title("Probability of the market's return")
    for number, (name, color) in enumerate(zip(wide, (SECOND, INK, FIRST), strict=True)):
        axes.plot(wide.index, wide[name], color=color, marker=".", label=NAMES[number])
    axes.axhline(1 / CLASSES, color=INK, linewidth=0.8, alpha=0.5)
    axes.tick_params(axis="x", rotation=30)
    axes.set(xlabel="day", ylabel="probability", ylim=(-0.02, 1.02))
