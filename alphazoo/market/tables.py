"""Reads columns of a table file or an in-memory table, for market, concept and score tables.

Errors refer to the table's own column names. The code uses internal names, such as ``date`` and
``symbol``, which a mapping assigns to columns of the table.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from alphazoo.errors import InputError, did_you_mean
from alphazoo.market.csv_rows import line_of, read_csv, read_header
from alphazoo.market.symbols import parse_text_setting

Rows = npt.NDArray[np.int64]


@runtime_checkable
class ArrowStream(Protocol):
    """A table that Arrow can read, such as a pyarrow or polars table."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...


AnyTable = str | Path | pd.DataFrame | ArrowStream


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of a table, and how errors refer to its columns and rows.

    Errors count rows from 1, excluding the header; for text files, they also give the line.

    Attributes:
        name: The file, or a description of an in-memory table.
        frame: The columns read, by internal name.
        names: The names in the table by internal name; empty for a file without header.
        line: Returns the line of a row in a text file; None for other tables.
    """

    name: str
    frame: pd.DataFrame
    names: Mapping[str, str]
    line: Callable[[int], int] | None = None

    def place(self, name: str, row: int) -> str:
        """Describe the location of a value: file, column, row and line."""
        return f"{self.title(name)}, {self.at(row)}"

    def title(self, name: str) -> str:
        """Describe a column: the file and, if it has a header, the name of the column."""
        return f"{self.name}, column {self.names[name]!r}" if self.names else self.name

    def at(self, row: int) -> str:
        """Describe a row by its number and line, or only by its line if there is no header."""
        if self.line is None:
            return f"row {row + 1}"
        line = f"line {self.line(row)}"
        return f"row {row + 1} ({line})" if self.names else line

    def distinct(self, name: str) -> tuple[list[Any], Rows]:
        """Return the distinct values of a column, and each row's index in them, [R].

        The index of a missing value is -1.
        """
        column = self.frame[name]
        try:
            codes, values = pd.factorize(column)
        except TypeError as error:  # unhashable values, such as lists
            raise InputError(f"{self.title(name)}: {error}") from error
        return _as_objects(values), codes


def _as_objects(values: Any) -> list[Any]:
    """Return values as Python objects: timestamps, periods, texts or numbers."""
    values = pd.Series(values)
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    return list(values.astype(object))


def open_table(table: AnyTable, key: str) -> Path | pd.DataFrame:
    """Return the path of an existing file, or a DataFrame with its index as columns.

    Args:
        table: A file, a DataFrame, or a table that Arrow can read.
        key: The setting that gives the table, for errors.

    Raises:
        InputError: The file does not exist, or ``table`` has another type.
    """
    if isinstance(table, pd.DataFrame):
        levels = [level for level in table.index.names if level not in (None, *table.columns)]
        return table.reset_index(level=levels) if levels else table
    if hasattr(table, "__arrow_c_stream__") and not isinstance(table, pd.Series):
        return _to_pandas(pa.table(table))
    if not isinstance(table, str | Path | int):
        raise InputError(
            f"{key}: expected a file, a DataFrame or an Arrow table, got {type(table).__name__}"
        )
    file = Path(table if isinstance(table, Path) else parse_text_setting(table, key)).expanduser()
    if file.is_dir():
        raise InputError(f"{file} is a folder, expected a .parquet, .csv or .csv.gz file")
    if not file.is_file():
        hint = f" (a name like 2026_01_01 needs quotes: {key}=\"'NAME'\")"
        raise InputError(f"no file {file}{hint if file.name.isdigit() else ''}")
    return file


def name_table(table: Path | pd.DataFrame) -> str:
    """Describe a table in errors."""
    return str(table) if isinstance(table, Path) else "the DataFrame"


def read_columns(
    table: Path | pd.DataFrame,
    names: Mapping[str, str],
    *,
    key: str,
    optional: Collection[str] = (),
    numbers: Collection[str] = (),
) -> Table:
    """Read columns of a table.

    Args:
        table: As `open_table` returns it.
        names: Names in the table, by internal name.
        key: The config key that ``names`` come from, for errors.
        optional: Internal names whose column may be null in the config.
        numbers: Internal names of the columns that hold numbers.

    Raises:
        InputError: The file cannot be read, has no rows, lacks a column, or has it twice.
    """
    source, found = name_table(table), column_names(table)
    for name, column in names.items():
        if column not in found:
            hint = did_you_mean(column, found)
            null = ", or null if there is none" if name in optional else ""
            raise InputError(
                f"{source} has no column {column!r} for {name} (set {key}.{name} to its "
                f"name{null}); {hint}"
            )
        if found.count(column) > 1:
            raise InputError(f"{source} has {found.count(column)} columns named {column!r}")
    wanted = list(dict.fromkeys(names.values()))
    frame = _read(table, wanted, found, [names[name] for name in numbers if name in names])
    if frame.empty:
        raise InputError(f"{source} has no rows")
    frame = frame[list(names.values())].set_axis(list(names), axis="columns")
    frame = frame.reset_index(drop=True)
    line = None
    if isinstance(table, Path) and table.suffix != ".parquet":
        line = partial(line_of, table)
    return Table(source, frame, names, line)


def column_names(table: Path | pd.DataFrame) -> list[str]:
    """Return the names of all columns of a table.

    Raises:
        InputError: The file cannot be read, or its format is not supported.
    """
    if isinstance(table, pd.DataFrame):
        return [str(name) for name in table.columns]
    if table.suffix == ".parquet":
        try:
            return list(pq.read_schema(table).names)
        except Exception as error:  # a damaged file may raise anything
            raise InputError(f"cannot read {table}: {' '.join(str(error).split())}") from error
    if table.suffix in (".csv", ".gz"):
        return read_header(table)
    raise InputError(f"{table}: expected a .parquet, .csv or .csv.gz file")


def _read(
    table: Path | pd.DataFrame, wanted: list[str], found: list[str], numbers: list[str]
) -> pd.DataFrame:
    if isinstance(table, pd.DataFrame):
        columns = [found.index(name) for name in wanted]
        return table.iloc[:, columns].set_axis(wanted, axis="columns")
    if table.suffix != ".parquet":
        return read_csv(table, wanted, numbers)
    try:
        return _to_pandas(pq.read_table(table, columns=wanted))
    except Exception as error:  # a damaged file may raise anything
        raise InputError(f"cannot read {table}: {' '.join(str(error).split())}") from error


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    # without the metadata of pandas, its index is read as ordinary columns
    frame: pd.DataFrame = table.to_pandas(
        date_as_object=False, split_blocks=True, ignore_metadata=True
    )
    return frame
