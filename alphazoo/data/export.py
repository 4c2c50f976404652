"""Features as a table, for any other tool."""

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

DAYS = 100  # days of a row group: bounds the memory


def export_features(
    market: Market,
    features: FeatureSet,
    label: Label,
    file: str | Path,
    *,
    first: str | None = None,
    last: str | None = None,
) -> int:
    """Write a Parquet file with a row per day and member that has a price, sorted by both.

    Columns ``date``, ``symbol``, the unscaled features in float32 and ``label``, the raw forward
    return; NaN where unknown. Features that are relative to the last day of their window have a
    column for each lag, named as ``close_59`` ... ``close_0``; of others, the earlier days of the
    window are the rows of earlier days.

    Args:
        market: Where they are from.
        features: What to compute.
        label: Gives the holding period of the return.
        file: To write; replaced where it is there already.
        first: The first day; default is that of the market.
        last: The last day; default is that of the market.

    Returns:
        The number of rows.

    Raises:
        InputError: The file is no Parquet file by its name, an end is no date, or no day is left.
    """
    file = Path(file)
    if file.suffix != ".parquet":
        raise InputError(f"out is a file with the ending .parquet, got {file}")
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
