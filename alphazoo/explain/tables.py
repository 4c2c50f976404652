"""Tables of what a model shows of one day: a row for each stock and whatever it looks at."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from alphazoo.data.days import DayBatch
from alphazoo.explain.subject import Subject
from alphazoo.models.probe import Shown

LARGEST = 4_000_000  # values of a tensor; of a larger one only the chosen stocks are in the table
NUMBERED = ("head", "neighbour", "frequency", "factor", "predictor", "class")  # axes without names
VALUES = ("factors", "terms")  # kinds whose numbers are no weights, except those of other stocks


def day_tables(
    subject: Subject, day: DayBatch, shown: Mapping[str, Shown], stocks: Sequence[int]
) -> dict[str, pd.DataFrame]:
    """Return a table for each name of a probe; the layers of a network share a table.

    Args:
        subject: The model and its data.
        day: The day.
        shown: What the model shows of the day.
        stocks: Places of the chosen stocks in the day.

    Returns:
        The columns ``date``, ``layer`` if there are several, one for each axis (``symbol``,
        ``other``, ``head``, ``step``, ``concept``, ...), and ``weight``, or ``value`` for what is
        no weight.
    """
    parts: dict[str, list[pd.DataFrame]] = defaultdict(list)
    for path, part in shown.items():
        frame = _long(subject, day, part, stocks)
        layers = [int(word) for word in path.split(".") if word.isdigit()]
        if layers:
            frame.insert(0, "layer", layers[0])
        frame.insert(0, "date", subject.date(int(day.date)))
        parts[path.rpartition(".")[2]].append(frame)
    return {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}


def _long(subject: Subject, day: DayBatch, part: Shown, stocks: Sequence[int]) -> pd.DataFrame:
    values, axes, coordinates = part.tensor, [*part.axes], part.coordinates
    if "query" in axes:  # the days that attend
        values = values.mean(dim=axes.index("query"))
        axes.remove("query")
    symbols = subject.symbols(day)
    names = {"stock": symbols, "other": symbols, "concept": [*subject.concepts]}
    names["feature"] = list(subject.data.features.columns)
    names["term"] = [*part.terms]
    if "stock" in axes and values.numel() > LARGEST:
        kept = torch.tensor(stocks)
        values = values.index_select(axes.index("stock"), kept)
        coordinates = {name: places[kept] for name, places in coordinates.items()}
        names["stock"] = [symbols[place] for place in stocks]
    columns: dict[str, object] = {}
    for dimension, axis in enumerate(axes):
        size = values.shape[dimension]
        shape = [size if other == dimension else 1 for other in range(values.ndim)]
        places = torch.arange(size).view(shape).expand(values.shape).flatten().numpy()
        if axis in NUMBERED:
            columns[axis] = places
        elif axis == "step":  # 0 is the day itself, -1 the day before
            columns[axis] = places - (size - 1)
        elif axis in names:
            name = "symbol" if axis == "stock" else axis
            columns[name] = pd.Categorical.from_codes(places, pd.Index(names[axis]))
    if "symbol" in columns:
        columns = {"symbol": columns["symbol"], **columns}  # first, whatever the axes
    dates, universe = subject.data.market.dates, np.array(subject.data.market.symbols)
    for name, codes in coordinates.items():
        flat = codes.expand(values.shape).flatten().numpy()
        columns[name] = dates[flat] if name == "other_date" else universe[flat]
    number = "value" if part.kind in VALUES and "other" not in axes else "weight"
    return pd.DataFrame({**columns, number: values.flatten().numpy()})
