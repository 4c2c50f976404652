"""Values of a column of a table: labels, numbers, flags, and keys that stand once."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.data.csv_rows import MISSING
from alphazoo.data.symbols import symbol_text
from alphazoo.data.tables import Rows, Table
from alphazoo.errors import InputError, shorten

FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def parse_labels(table: Table, name: str) -> "pd.Series[str]":
    """A column of text, in which an integral number is its digits; None where it is missing."""
    values, codes = table.distinct(name)
    texts = [None if str(value).strip() in MISSING else _label(value) for value in values]
    return pd.Series(np.array([*texts, None], dtype=object)[codes])


def _label(value: object) -> str:
    try:
        return symbol_text(value)
    except ValueError:
        return str(value)


def parse_numbers(
    table: Table, name: str, key: Callable[[int], str] = lambda row: ""
) -> npt.NDArray[np.float64]:
    """A column of numbers, or of texts that are numbers: [R].

    Args:
        table: Has the column.
        name: Ours, of the column.
        key: What else to say of a row in errors, such as its symbol and date.

    Raises:
        InputError: A value is no number.
    """
    column = table.frame[name]
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    values, codes = table.distinct(name)
    texts = pd.Series([_number(value) for value in values], dtype=object)
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.isnan(numbers) & texts.notna().to_numpy()
    rows = np.flatnonzero(np.append(wrong, False)[codes])
    if len(rows):
        first = int(rows[0])
        told = f" ({key(first)})" if key(first) else ""
        others = f", and {len(rows) - 1} more rows" if len(rows) > 1 else ""
        raise InputError(
            f"{table.place(name, first)}{told}: {values[codes[first]]!r} is not a number{others}"
        )
    return np.append(numbers, np.nan)[codes]


def _number(value: object) -> object:
    """A number, or text that is one or is not; None where it is missing."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        return None if value.strip() in MISSING else value.strip()
    return str(value) if not np.isscalar(value) or isinstance(value, np.generic) else value


def parse_flags(table: Table, name: str) -> npt.NDArray[np.bool_]:
    """A column of true and false, or 1 and 0: [R]; a missing value is false.

    Raises:
        InputError: A value is something else.
    """
    values, codes = table.distinct(name)
    flags = []
    for index, value in enumerate(values):
        text = str(value).strip().lower()
        if text not in FLAGS and str(value).strip() not in MISSING:
            row = int(np.argmax(codes == index))
            raise InputError(
                f"{table.place(name, row)}: expected true or false, 1 or 0, found {value}"
            )
        flags.append(FLAGS.get(text, False))
    return np.array([*flags, False], dtype=bool)[codes]


def refuse_twice(
    table: Table, dates: pd.DatetimeIndex, symbols: Sequence[str], days: Rows, stocks: Rows
) -> None:
    """Raise an `InputError` where a pair of day [R] and stock [R] has two rows."""
    twice = np.flatnonzero(pd.Series(days * len(symbols) + stocks).duplicated())
    if len(twice):
        pairs = shorten(f"{dates[days[i]]:%Y-%m-%d} {symbols[stocks[i]]}" for i in twice)
        raise InputError(
            f"{table.name} has {len(twice)} rows whose date and symbol stand twice: {pairs}"
        )
