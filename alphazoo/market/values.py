"""Parses the columns of a table into symbols, labels, numbers and flags; rejects duplicate keys."""

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.errors import InputError, shorten
from alphazoo.market.csv_rows import MISSING
from alphazoo.market.symbols import parse_symbol
from alphazoo.market.tables import Rows, Table

log = logging.getLogger(__name__)

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def parse_symbols(table: Table, name: str = "symbol") -> tuple[list[str], Rows]:
    """Return the sorted symbols of a column, and the index of each row's symbol, [R].

    If a symbol has several spellings, which differ in case or surrounding spaces, the first in
    sorted order is used.

    Raises:
        InputError: The symbol of a row is missing, or is not a symbol.
    """
    values, codes = table.distinct(name)
    if (codes < 0).any():
        raise InputError(f"{table.place(name, int(np.argmax(codes < 0)))}: the symbol is missing")
    texts = []
    for index, value in enumerate(values):
        try:
            texts.append(parse_symbol(value))
            fault = "" if texts[-1] else "the symbol is missing"
        except ValueError as error:
            fault = str(error)
        if fault:
            raise InputError(f"{table.place(name, int(np.argmax(codes == index)))}: {fault}")
    spellings = _choose_spellings(texts)
    _report_spellings(values, texts, spellings, table.name)
    symbols = sorted({spellings[text.casefold()] for text in texts})
    column = {symbol: index for index, symbol in enumerate(symbols)}
    of_value = np.array([column[spellings[text.casefold()]] for text in texts], dtype=np.int64)
    return symbols, of_value[codes]


def _choose_spellings(texts: Iterable[str]) -> dict[str, str]:
    """Return the spelling to use for each case-folded symbol."""
    spellings: dict[str, str] = {}
    for text in sorted(texts, reverse=True):
        spellings[text.casefold()] = text
    return spellings


def _report_spellings(
    values: Sequence[object], texts: Sequence[str], spellings: dict[str, str], source: str
) -> None:
    variants = defaultdict(set)
    for value, text in zip(values, texts, strict=True):
        variants[spellings[text.casefold()]].add(repr(value))
    several = {symbol: found for symbol, found in variants.items() if len(found) > 1}
    if several:
        listed = shorten(f"{' and '.join(sorted(v))} as {s}" for s, v in sorted(several.items()))
        log.warning("%s: %d symbols have several spellings: %s", source, len(several), listed)


def parse_labels(table: Table, name: str) -> "pd.Series[str]":
    """Return a column as text, [R]; integral numbers become digits, and missing values None."""
    values, codes = table.distinct(name)
    texts = [None if str(value).strip() in MISSING else _label(value) for value in values]
    return pd.Series(np.array([*texts, None], dtype=object)[codes])


def _label(value: object) -> str:
    try:
        return parse_symbol(value)
    except ValueError:
        return CONTROL.sub(lambda found: repr(found[0])[1:-1], str(value))


def parse_numbers(
    table: Table, name: str, key: Callable[[int], str] = lambda row: ""
) -> npt.NDArray[np.float64]:
    """Return a column of numbers, or of texts that are numbers, as floats, [R].

    Args:
        table: The table.
        name: Internal name of the column.
        key: Describes a row in errors, for example by its symbol and date.

    Raises:
        InputError: A value is not a number.
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
        detail = f" ({key(first)})" if key(first) else ""
        others = f", and {len(rows) - 1} more rows" if len(rows) > 1 else ""
        raise InputError(
            f"{table.place(name, first)}{detail}: {values[codes[first]]!r} is not a number{others}"
        )
    return np.append(numbers, np.nan)[codes]


def _number(value: object) -> object:
    """Return a value as something that `pandas.to_numeric` can parse; None if it is missing."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        return None if value.strip() in MISSING else value.strip()
    return str(value) if not np.isscalar(value) or isinstance(value, np.generic) else value


def parse_flags(table: Table, name: str) -> npt.NDArray[np.bool_]:
    """Return a column of true and false, or 1 and 0, as booleans, [R]; missing values are False.

    Raises:
        InputError: A value is not a flag.
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


def check_unique(
    table: Table, dates: pd.DatetimeIndex, symbols: Sequence[str], days: Rows, stocks: Rows
) -> None:
    """Raise an `InputError` if several rows have the same day [R] and stock [R]."""
    repeated = np.flatnonzero(pd.Series(days * len(symbols) + stocks).duplicated())
    if len(repeated):
        pairs = shorten(f"{dates[days[i]]:%Y-%m-%d} {symbols[stocks[i]]}" for i in repeated)
        raise InputError(
            f"{table.name} has {len(repeated)} rows that repeat the date and symbol of another: "
            f"{pairs}"
        )
