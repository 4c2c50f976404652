"""The weights that the state of the market gives to features, by day."""

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alphazoo.evaluation.drawing import draw
from alphazoo.explain import definitions
from alphazoo.explain.bars import MOST, plot_bars
from alphazoo.explain.explanation import Part
from alphazoo.explain.heat import heat, name_cells, name_days, shrink
from alphazoo.explain.subject import Subject


def show_gate(subject: Subject) -> Part:
    """Show the weight of each feature on each of the days that are looked at."""
    part = Part("Gate", definitions=dict(definitions.GATE))
    shown = [subject.model.inside(subject.day(row), "gate") for row in subject.rows]
    dates = pd.DatetimeIndex([subject.date(row) for row in subject.rows], name="date")
    columns = pd.Index(subject.data.features.columns, name="feature")
    for name in shown[0]:
        weights = torch.stack([day[name].tensor for day in shown]).numpy()  # [days, F]
        wide = pd.DataFrame(weights, index=dates, columns=columns)
        part.tables[name] = wide.reset_index().melt("date", value_name="weight")
        part.add(name, *_figure(wide * len(columns)))
    return part


def _figure(lifts: pd.DataFrame) -> tuple[Figure, str]:
    """Return the figure and its caption.

    Args:
        lifts: [days, F], weights over equal shares.
    """
    last = f"{lifts.index[-1]:%Y-%m-%d}"
    what = "that the state of the market gives to features, over equal shares"
    ignored = "The features are multiplied by it; a weight says nothing of how they are then used."
    if len(lifts) == 1:
        figure = draw(
            plot_bars, lifts.iloc[0], "Gate", ("weight, over equal shares", "feature"), 1.0
        )
        return figure, f"The {MOST} largest weights {what}, on {last}. {ignored}"
    chosen = (lifts - 1).abs().mean().nlargest(MOST).index
    return (
        draw(_by_day, lifts[chosen].T),
        f"Weights {what}, on the {len(lifts)} days to {last}: the {MOST} features that are "
        f"farthest from equal shares, mean over days. {ignored}",
    )


def _by_day(axes: Axes, lifts: pd.DataFrame) -> None:
    axes.set_title("Gate by day")
    values = shrink(lifts.to_numpy()) - 1
    heat(axes, values, unit="weight over equal shares - 1", signed=True, least=0.1)
    name_cells(axes, [*map(str, lifts.index)], rows=True)
    name_days(axes, pd.DatetimeIndex(lifts.columns), values.shape[1])
    axes.set(xlabel="day", ylabel="feature")
