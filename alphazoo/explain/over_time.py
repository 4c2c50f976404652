"""What a model looks at in the window of a stock: attention over time, frequencies, weights."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from alphazoo.evaluation.drawing import FIRST, INK, SECOND, THIRD, draw
from alphazoo.explain import definitions
from alphazoo.explain.bars import plot_bars
from alphazoo.explain.explanation import Part, Seen
from alphazoo.explain.heat import heat, name_cells, name_steps, shrink

CURVES = 12  # of a figure, with four colours and three kinds of lines
ROWS = 60  # rows of a heat map of stocks
LABELS = {  # title and unit, by the name of the probe
    "weights": ("Weight of inputs", "score per unit of the scaled input"),
    "gains": ("Gain of inputs", "gain, total reduction of the loss by splits"),
    "paths": ("Days of the window that are seen", "share of paths"),
}
TITLES = {"day_weights": "Weights of the days in the score"}  # by the name of the probe


def show_time(tables: Mapping[str, pd.DataFrame], seen: Seen) -> Part:
    """Show attention over the days of the window.

    Args:
        tables: Tables with the columns ``symbol, step, weight``, and ``layer`` or ``head``.
        seen: The day.
    """
    part = Part("Attention over time", dict(tables), definitions=dict(definitions.TIME))
    for name, table in tables.items():
        title = TITLES.get(name, "Attention over time")
        mean = table.groupby(["symbol", "step"], observed=True)["weight"].mean().unstack()
        mean = mean.loc[seen.scores.sort_values(ascending=False).index.intersection(mean.index)]
        steps = mean.columns.to_numpy(dtype=float)
        part.metrics[f"{name}/mean_step"] = float(mean.mean().to_numpy() @ steps)
        keys = _several(table)
        averaged = "; mean over layers, heads and the days that attend" if keys else ""
        part.add(
            name,
            draw(_stock_steps, mean, f"{title}, by stock"),
            f"{title}: weight of each day of the window for the stocks of {seen.date}, highest "
            f"score on top{averaged}. A large weight does not say that the score depends on the "
            "day, because the state of a day may hold the days before it.",
        )
        by = f"by {' and '.join(keys)}, " if keys else ""
        part.add(
            f"{name}_by_head" if keys else f"{name}_mean",
            draw(_curves, table, f"{title}, {by or 'mean over stocks'}".removesuffix(", "), keys),
            f"The same weights, {by}mean over the stocks of {seen.date}; the grey line is equal "
            f"shares.{_omitted(table, keys)}",
        )
    return part


def show_frequencies(tables: Mapping[str, pd.DataFrame], seen: Seen) -> Part:
    """Show the power of the frequencies of a state frequency memory.

    Args:
        tables: A table ``spectrum`` with the columns ``symbol, frequency, weight``.
        seen: The day.
    """
    part = Part("Frequencies", dict(tables), definitions=dict(definitions.FREQUENCIES))
    part.add(
        "spectrum",
        draw(_spectrum, tables["spectrum"]),
        f"Power of the last memory at each frequency on {seen.date}, mean over hidden units, as a "
        "share of each stock's power; the bars are means over stocks, the lines the range from the "
        "10th to the 90th percentile. The model may still give a strong frequency no weight.",
    )
    return part


def show_weights(tables: Mapping[str, pd.DataFrame], seen: Seen) -> Part:
    """Show numbers that do not depend on the day: weights of inputs, gains, or paths.

    Args:
        tables: Tables with the columns ``step``, ``feature`` or both, and ``weight``.
        seen: The day.
    """
    part = Part("Weights", dict(tables), definitions=dict(definitions.TIME))
    texts = {
        "weights": "Weight of each input of the linear model: its attribution is the weight times "
        "the scaled input. Correlated inputs share their weight in an arbitrary way.",
        "gains": "Total gain of the splits on each input. It is measured on the training days, and "
        "favours inputs with many values.",
        "paths": "Share of the network's paths that start at each day of the window. Days without "
        "paths are outside of the receptive field; weights decide what the others are worth.",
    }
    for name, table in tables.items():
        several = "feature" in table and len(table["step"].unique()) > 1
        labels = LABELS.get(name, ("Weight of inputs", "weight"))
        figure = draw(_input_weights if several else _bars, table, *labels)
        part.add(name, figure, texts.get(name, "Weights that the model gives."))
    paths = tables.get("paths")
    if paths is not None:
        reached = int((paths["weight"] > 0).sum())
        part.metrics["receptive_field"] = reached
        part.notes.append(f"The network sees {reached} of the {len(paths)} days of the window.")
    return part


def _several(table: pd.DataFrame) -> list[str]:
    """Return those of ``layer`` and ``head`` of which the table has more than one."""
    return [name for name in ("layer", "head") if name in table and len(table[name].unique()) > 1]


def _omitted(table: pd.DataFrame, keys: list[str]) -> str:
    """Return a sentence if not every layer and head has a curve."""
    count = len(table[keys].drop_duplicates()) if keys else 1
    return f" Only the first {CURVES} of {count} are drawn." if count > CURVES else ""


def _stock_steps(axes: Axes, mean: pd.DataFrame, title: str) -> None:
    axes.set_title(title)
    values = shrink(mean.to_numpy(), ROWS)
    unit = "weight over equal shares - 1"
    heat(axes, values * mean.shape[1] - 1, unit=unit, signed=True, least=0.1)
    name_steps(axes, mean.columns.to_numpy(), values.shape[1])
    axes.set(xlabel="trading days from the scored day", ylabel="stocks, highest score on top")
    axes.set_yticks([])


def _curves(axes: Axes, table: pd.DataFrame, title: str, keys: list[str]) -> None:
    axes.set_title(title)
    groups = [*table.groupby(keys, observed=True)] if keys else [((), table)]
    for number, (key, rows) in enumerate(groups[:CURVES]):
        color, line = (FIRST, SECOND, THIRD, INK)[number % 4], ("-", "--", ":")[number // 4]
        mean = rows.groupby("step")["weight"].mean()
        label = ", ".join(f"{name} {value}" for name, value in zip(keys, key, strict=True))
        axes.plot(mean.index, mean, color=color, linestyle=line, label=label or "mean")
    axes.axhline(1 / table["step"].nunique(), color=INK, linewidth=0.8, alpha=0.5)
    axes.set(xlabel="trading days from the scored day", ylabel="weight")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _spectrum(axes: Axes, table: pd.DataFrame) -> None:
    axes.set_title("Power by frequency")
    wide = table.pivot(index="symbol", columns="frequency", values="weight")
    share = wide.div(wide.sum(axis=1), axis=0)
    mean, low, high = share.mean(), share.quantile(0.1), share.quantile(0.9)
    axes.bar(mean.index, mean, color=FIRST, alpha=0.75)
    axes.vlines(mean.index, low, high, color=INK, linewidth=0.8)
    count = wide.shape[1]
    names = ["constant", *(f"{count / k:.3g}" for k in range(1, count))]
    axes.set_xticks([*wide], names, rotation=90 if count > 8 else 0)
    axes.set(xlabel="period, trading days", ylabel="share of power")


def _input_weights(axes: Axes, table: pd.DataFrame, title: str, unit: str) -> None:
    axes.set_title(title)
    wide = table.pivot(index="feature", columns="step", values="weight")
    values = shrink(wide.to_numpy())
    heat(axes, values, unit=unit, signed=bool((values < 0).any()))
    name_cells(axes, [*map(str, wide.index)], rows=True)
    name_steps(axes, wide.columns.to_numpy(), values.shape[1])
    axes.set(xlabel="trading days from the scored day", ylabel="feature")


def _bars(axes: Axes, table: pd.DataFrame, title: str, unit: str) -> None:
    if "feature" in table:
        plot_bars(axes, table.set_index("feature")["weight"], title, (unit, "feature"))
    else:
        axes.set_title(title)
        axes.bar(table["step"], table["weight"], color=FIRST, alpha=0.75)
        axes.set(xlabel="trading days from the scored day", ylabel=unit)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
