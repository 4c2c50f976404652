"""Columns of a table file or DataFrame, checked: what market, concept and score tables share."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from alphazoo.errors import InputError, did_you_mean, shorten

Rows = npt.NDArray[np.int64]

MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]


def name_table(table: str | Path | pd.DataFrame) -> str:
    """What errors call it."""
    return "the DataFrame" if isinstance(table, pd.DataFrame) else str(table)


def read_columns(
    table: str | Path | pd.DataFrame,
    names: Mapping[str, str],
    *,
    key: str,
    optional: Collection[str] = (),
    text: Collection[str] = (),
) -> pd.DataFrame:
    """Read columns of a ``.parquet``, ``.csv`` or ``.csv.gz`` file or a DataFrame.

    Args:
        table: The file or DataFrame.
        names: Names in the table, by the names that the result has.
        key: The config key that ``names`` come from, for errors.
        optional: Those of the names that need not exist in a table.
        text: Those of the names that hold text; the symbol is one of them, and NA a symbol.

    Raises:
        InputError: There is no such file, it cannot be read, has no rows or lacks a column.
    """
    source = name_table(table)
    found = column_names(table)
    for name, column in names.items():
        if column not in found:
            hint = did_you_mean(column, map(str, found))
            way_out = ", null if there is none" if name in optional else ""
            raise InputError(
                f"{source} has no column {column!r} for {name} ({key}.{name} is its "
                f"name{way_out}); {hint}"
            )
    with _parsing(source):
        frame = _read(table, names, text)
    if frame.empty:
        raise InputError(f"{source} has no rows")
    return frame.set_axis(list(names), axis="columns")


def column_names(table: str | Path | pd.DataFrame) -> list[str]:
    """Those that the table has."""
    if isinstance(table, pd.DataFrame):
        return list(table.columns)
    file = Path(table).expanduser()
    if not file.is_file():
        raise InputError(f"no file {file}")
    with _parsing(str(table)):
        if file.suffix == ".parquet":
            return list(pq.read_schema(file).names)
        if file.suffix in (".csv", ".gz"):
            return list(pd.read_csv(file, nrows=0).columns)
    raise InputError(f"{file}: expected a .parquet, .csv or .csv.gz file")


@contextmanager
def _parsing(source: str) -> Iterator[None]:
    """Name the file in errors of pyarrow and pandas, for what they cannot parse."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"cannot read {source}: {error}") from error


def _read(
    table: str | Path | pd.DataFrame, names: Mapping[str, str], text: Collection[str]
) -> pd.DataFrame:
    wanted = list(names.values())
    if isinstance(table, pd.DataFrame):
        return table[wanted].copy()
    file = Path(table).expanduser()
    if file.suffix == ".parquet":
        arrow = pq.read_table(file, columns=wanted)
        # an index of pandas is read as the columns that hold it
        frame: pd.DataFrame = arrow.to_pandas(
            date_as_object=False, split_blocks=True, ignore_metadata=True
        )
        return frame[wanted]
    return pd.read_csv(
        file,
        usecols=wanted,
        dtype={names[name]: str for name in text},
        keep_default_na=False,
        na_values={column: MISSING for column in wanted if column != names["symbol"]},
    )[wanted]


def parse_dates(column: "pd.Series[str]", source: str) -> "pd.Series[pd.Timestamp]":
    """Days, without time and zone, of a column of dates, ISO texts or numbers like 20150102.

    Raises:
        InputError: A value is none of these.
    """
    days: pd.Series[str] = column
    if pd.api.types.is_numeric_dtype(column):
        days = column.map("{:.0f}".format)
    elif pd.api.types.is_string_dtype(column):  # the local day, whatever its offset from UTC
        days = column.str.replace(r"^(\d{4}-\d{2}-\d{2})[T ].*$", r"\1", regex=True)
    form = "%Y%m%d" if pd.api.types.is_numeric_dtype(column) else None
    parsed = pd.to_datetime(days, errors="coerce", format=form)
    wrong = np.flatnonzero(parsed.isna())
    if len(wrong):
        values = shorten(repr(column.iloc[row]) for row in wrong)
        raise InputError(
            f"{source}, column {column.name!r}: {len(wrong)} values are not dates, "
            f"the first in row {wrong[0] + 1}: {values}"
        )
    if parsed.dt.tz is not None:
        parsed = parsed.dt.tz_localize(None)
    return parsed.dt.normalize().dt.as_unit("ns")


def parse_symbols(column: "pd.Series[str]", source: str) -> tuple[list[str], Rows]:
    """The symbols of a column, sorted, and which of them each row has: [R].

    Raises:
        InputError: A row has none.
    """
    codes, symbols = pd.factorize(column, sort=True)
    if (codes < 0).any():
        raise InputError(f"{source}: row {int(np.argmax(codes < 0)) + 1} has no symbol")
    return [str(symbol) for symbol in symbols], codes


def parse_numbers(column: "pd.Series[float]", name: str, source: str) -> "pd.Series[float]":
    """A column of numbers, or of texts that are numbers.

    Raises:
        InputError: A value is no number.
    """
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return column
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = column[numbers.isna() & column.notna()]
    if len(wrong):
        raise InputError(f"{source}, {name}: {wrong.iloc[0]!r} is not a number")
    return numbers


def refuse_twice(
    dates: pd.DatetimeIndex, symbols: Sequence[str], days: Rows, stocks: Rows, source: str
) -> None:
    """Raise an `InputError` where a pair of day [R] and stock [R] has two rows."""
    twice = np.flatnonzero(pd.Series(days * len(symbols) + stocks).duplicated())
    if len(twice):
        pairs = shorten(f"{dates[days[i]]:%Y-%m-%d} {symbols[stocks[i]]}" for i in twice)
        raise InputError(
            f"{source} has {len(twice)} rows whose date and symbol stand twice: {pairs}"
        )
