"""Exports features to a Parquet table, for use in other tools."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from alphazoo.data.labels import Label
from alphazoo.errors import InputError
from alphazoo.features.base import FeatureSet
from alphazoo.files import write_atomically
from alphazoo.market.market import Market

DAYS = 100  # number of days in a row group, to bound the memory


def export_features(
    market: Market,
    features: FeatureSet,
    label: Label,
    file: str | Path,
    *,
    first: str | None = None,
    last: str | None = None,
) -> int:
    """Write a Parquet file with one row per day and universe member with a price, sorted by both.

    The columns are ``date``, ``symbol``, the unscaled features in float32, and ``label``, the raw
    forward return; NaN where unknown. Features that are relative to the last day of their window
    have one column per lag, ``close_59`` to ``close_0``. Other features have one column; the
    earlier days of a window are in the rows of these days.

    Args:
        market: The market.
        features: The feature set to compute.
        label: Gives the holding period of the forward return.
        file: The file to write; an existing file is replaced.
        first: The first day; defaults to the first day of the market.
        last: The last day; defaults to the last day of the market.

    Returns:
        The number of rows.

    Raises:
        InputError: The name of the file does not end in .parquet, ``first`` or ``last`` is not a
            date, or the range contains no day.
    """
    file = Path(file)
    if file.suffix != ".parquet":
        raise InputError(f"out must be a file that ends in .parquet, got {file}")
    rows = market.rows(first, last)
    file.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(file) as beside:
        writer, count = None, 0
        try:
            for table in _tables(market, features, label, rows):
                writer = writer or pq.ParquetWriter(beside, table.schema)
                writer.write_table(table)
                count += len(table)
        finally:
            if writer:
                writer.close()
    return count


def _tables(market: Market, features: FeatureSet, label: Label, rows: range) -> Iterator[pa.Table]:
    windows, present = features.bind(market), market.present
    returns = label.returns(market.field("close"))
    n_lags = windows.statistics_shape[0]
    names = list(features.columns)
    if n_lags > 1:
        names = [f"{name}_{lag}" for lag in reversed(range(n_lags)) for name in names]
    symbols = pd.Index(market.symbols)
    for start in range(rows.start, rows.stop, DAYS):
        parts = []
        for row in range(start, min(start + DAYS, rows.stop)):
            stocks = present[row].nonzero().squeeze(1)
            values = windows(row, stocks)[-n_lags:]  # [lags, N, F]
            part = pd.DataFrame(values.transpose(0, 1).flatten(1).numpy(), columns=names)
            part.insert(0, "date", market.dates[row])
            part.insert(1, "symbol", symbols[stocks.numpy()])
            parts.append(part.assign(label=returns[row, stocks].numpy()))
        yield pa.Table.from_pandas(pd.concat(parts), preserve_index=False)
