"""Which inputs the scores come from: attributions of the last day and of some days before."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from alphazoo.data.days import DayBatch
from alphazoo.evaluation.drawing import draw
from alphazoo.evaluation.report import Table
from alphazoo.explain import definitions
from alphazoo.explain.attribution import GRADIENTS, PERMUTATION, Attributions, attribute
from alphazoo.explain.bars import plot_bars
from alphazoo.explain.explanation import Part
from alphazoo.explain.heat import heat, name_cells, name_steps, shrink
from alphazoo.explain.subject import Subject

DAYS = 3  # days of the mean, spread evenly
STOCKS = 20  # stocks of such a day if a score depends on one stock, else a tenth
LISTED = 50  # other stocks of a table; the attributions of the rest are one row


def show_inputs(subject: Subject, day: DayBatch, stocks: list[int]) -> tuple[Part, Attributions]:
    """Attribute scores to inputs; return also the attributions of the chosen stocks.

    Args:
        subject: The model and its data.
        day: The last day.
        stocks: Places of the chosen stocks in the day.

    Raises:
        InputError: See `alphazoo.explain.attribution.attribute`.
    """
    part = Part("Inputs", definitions=dict(definitions.ATTRIBUTION), checked_as="attribution")
    found = attribute(subject.model, day, torch.tensor(stocks))
    part.tables["attribution"] = attribution_table(subject, day, found)
    mean, count = _mean(subject, found)
    columns, window = subject.data.features.columns, mean.shape[0]
    wide = pd.DataFrame(mean.T.numpy(), index=pd.Index(columns), columns=range(1 - window, 1))
    part.tables["mean_attribution"] = (
        wide.rename_axis("feature")
        .reset_index()
        .melt("feature", var_name="step", value_name="value")
    )
    how = {
        GRADIENTS: "By integrated gradients from the mean features of the day; their sum misses "
        f"the change of the score by {found.delta:.2%} (convergence delta).",
        PERMUTATION: "By permutation within the day, because the model chooses what it reads, so "
        f"that gradients miss it; {found.lags} neighbouring days are permuted together.",
    }.get(found.method, "SHAP values of the trees, which add up to the score.")
    part.notes.append(how)
    if found.delta == found.delta:
        part.metrics["delta"] = found.delta
    span = f"mean of {count} days" if count > 1 else "one day"
    part.add(
        "inputs",
        draw(_inputs, wide),
        f"Mean absolute attribution of scores to each feature and day of the window ({span}). It "
        "says what moves the scores, not whether this forecasts returns.",
    )
    if found.looks_at_others:
        _show_others(part, subject, day, found)
    return part, found


def _mean(subject: Subject, found: Attributions) -> tuple[Tensor, int]:
    """Return the mean absolute attribution, [T, F], over some days, and their number."""
    earlier = subject.rows[:-1]
    count = min(DAYS - 1, len(earlier))
    chosen = [len(earlier) * number // count for number in range(count)]
    means = [found.inputs.abs().mean(dim=0)]
    for place in chosen:
        day = subject.day(earlier[place])
        several = min(len(day.stocks), max(1, STOCKS // (10 if found.looks_at_others else 1)))
        stocks = torch.linspace(0, len(day.stocks) - 1, several).long()
        own = attribute(subject.model, day, stocks, replace_others=False, rough=True)
        means.append(own.inputs.abs().mean(dim=0))
    return torch.stack(means).mean(dim=0), len(means)


def attribution_table(subject: Subject, day: DayBatch, found: Attributions) -> pd.DataFrame:
    """Return the columns ``date, symbol, other, feature, lag, lags, value``.

    ``other``, ``feature`` or ``lag`` is empty where inputs were changed together.
    """
    symbols = np.array(subject.symbols(day), dtype=object)
    frames = []
    for row, place in enumerate(found.stocks.tolist()):
        parts = _of_stock(found, row, place, symbols, subject.data.features.columns)
        frames += [part.assign(symbol=symbols[place]) for part in parts]
    table = pd.concat(frames, ignore_index=True).assign(date=subject.date(int(day.date)))
    return table.reindex(columns=["date", "symbol", "other", "feature", "lag", "lags", "value"])


def _of_stock(
    found: Attributions, row: int, place: int, symbols: np.ndarray, columns: Sequence[str]
) -> Iterator[pd.DataFrame]:
    """Yield the rows of the table for one stock."""
    if found.full is not None:
        full = found.full[row]  # [N, T, F]
        listed = full.abs().sum(dim=(1, 2)).topk(min(LISTED, len(full))).indices
        kept, names = full[listed], [*symbols[listed]]
        if len(listed) < len(full):
            kept = torch.cat([kept, (full.sum(dim=0) - kept.sum(dim=0))[None]])
            names.append(None)
        yield _grid(kept, names, columns, 1)
        return
    together = found.method == PERMUTATION and found.looks_at_others
    yield _grid(
        found.inputs[row][None], [None if together else symbols[place]], columns, found.lags
    )
    if together:
        yield pd.DataFrame({"other": symbols, "value": found.others[row].numpy()}).dropna()


def _grid(
    values: Tensor, others: Sequence[str | None], columns: Sequence[str], lags: int
) -> pd.DataFrame:
    """Return ``other, feature, lag, lags, value`` of attributions, one row for permuted days.

    Args:
        values: [L, T, F].
        others: [L], the stocks that the inputs belong to.
        columns: [F].
        lags: Number of days permuted together.
    """
    count, window, width = values.shape
    ends = np.arange(window, 0, -lags)
    starts = np.maximum(0, ends - lags)
    blocks = [values[:, a:b].sum(dim=1) for a, b in zip(starts, ends, strict=True)]
    return pd.DataFrame(
        {
            "other": np.repeat(np.array(others, dtype=object), len(ends) * width),
            "feature": np.tile(columns, count * len(ends)),
            "lag": np.tile(np.repeat(window - ends, width), count),
            "lags": np.tile(np.repeat(ends - starts, width), count),
            "value": torch.stack(blocks, dim=1).flatten().numpy(),
        }
    )


def _show_others(part: Part, subject: Subject, day: DayBatch, found: Attributions) -> None:
    share = share_of_others(found)
    part.metrics["share_of_others"] = share
    symbols = subject.symbols(day)
    replaced = int(found.others[0].isfinite().sum())
    some = f" Replaced were {replaced} of {len(symbols)} stocks, one by one."
    part.notes.append(
        f"{share:.0%} of the absolute attribution of these scores lies on other stocks."
        + (some if replaced < len(symbols) else "")
    )
    part.add(
        "other_stocks",
        draw(
            plot_bars,
            pd.Series(_without_itself(found, -1).numpy(), symbols),
            "Attribution to other stocks",
            ("attribution, in units of the score", "stock of the inputs"),
        ),
        f"Attribution of the score of {symbols[int(found.stocks[-1])]} on "
        f"{subject.date(int(day.date)):%Y-%m-%d} to the inputs of other stocks, the largest ones. "
        "A stock that moves the score need not move the price.",
    )
    rows = []
    for row, place in enumerate(found.stocks.tolist()):
        values = _without_itself(found, row)
        top = values.abs().topk(min(5, len(values))).indices.tolist()
        cells = [f"{symbols[other]} ({float(values[other]):+.2g})" for other in top]
        rows.append([symbols[place], *cells, *[""] * (5 - len(cells))])
    part.page.append(Table(rows, ["stock", *(f"other stock {n}" for n in range(1, 6))]))


def _without_itself(found: Attributions, row: int) -> Tensor:
    """Return the attributions [N] to other stocks; those to the stock itself are larger by far."""
    values = found.others[row].nan_to_num()
    values[found.stocks[row]] = 0
    return values


def share_of_others(found: Attributions) -> float:
    """Return the part of the absolute attribution that lies on other stocks, 0 to 1."""
    rows = torch.arange(len(found.stocks))
    if found.full is None:
        sizes = found.others.abs().nan_to_num()
    else:
        sizes = found.full.abs().sum(dim=(2, 3))
    own, total = sizes[rows, found.stocks].sum(), sizes.sum()
    return float(1 - own / total) if total > 0 else 0.0


def _inputs(axes: Axes, wide: pd.DataFrame) -> None:
    title = "Attribution to inputs"
    if wide.shape[1] == 1:
        labels = ("mean absolute attribution, in units of the score", "feature")
        plot_bars(axes, wide.iloc[:, 0], title, labels)
        return
    axes.set_title(title)
    values = shrink(wide.to_numpy())
    heat(axes, values, unit="units of the score")
    name_cells(axes, [*map(str, wide.index)], rows=True)
    name_steps(axes, wide.columns.to_numpy(), values.shape[1])
    axes.set(xlabel="trading days from the scored day", ylabel="feature")
