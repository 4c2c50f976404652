"""Symbols: the texts that identify stocks, whatever type a table stores them as.

Integers and integral floats become their digits, bytes are decoded as UTF-8, and surrounding
whitespace is stripped. Symbols are sorted as text. Two symbols that differ only in case identify
the same stock.
"""

import logging
import re
import string
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from alphazoo.errors import InputError, did_you_mean, shorten

if TYPE_CHECKING:
    from alphazoo.data.tables import Rows, Table

log = logging.getLogger(__name__)

# str.strip does not remove byte order marks and zero-width spaces
STRIPPED = string.whitespace + "\xa0\u2007\u202f\u3000\u200b\u2060\ufeff"
INTEGRAL = re.compile(r"(\d+)\.0+")  # an integer that was stored as a float


def symbol_text(value: object) -> str:
    """Return a value as a symbol; empty if the value is missing.

    Raises:
        ValueError: The value cannot be a symbol: a fraction, a boolean, a date, bytes that are not
            UTF-8, or text with control characters.
    """
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        text = value.strip(STRIPPED)
        if not text.isprintable() and any(ord(character) < 32 for character in text):
            raise ValueError(f"{value!r} contains control characters")
        digits = INTEGRAL.fullmatch(text)
        return digits[1] if digits else text
    if isinstance(value, float | Decimal | np.floating):
        if value != value:  # NaN
            return ""
        if np.isfinite(float(value)) and value == int(value):
            return str(int(value))
    elif isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{value!r} is not a symbol: expected text or an integer")


def setting_text(value: object, key: str) -> str:
    """Return a text setting, such as a symbol, path or column name.

    The command line parses text that looks like a number as one: ``data.benchmark=399300``.

    Raises:
        InputError: The value is neither text nor an integer, so the original spelling is lost.
    """
    if isinstance(value, float | bool) or not isinstance(value, str | int):
        raise InputError(
            f"{key} must be text, but was parsed as {value!r}: put it in quotes, on the command "
            f"line as \"{key}='TEXT'\""
        )
    return str(value).strip(STRIPPED)


def parse_symbols(table: "Table", name: str = "symbol") -> tuple[list[str], "Rows"]:
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
            texts.append(symbol_text(value))
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


def find_symbols(symbols: Sequence[str], known: Sequence[str]) -> "Rows":
    """Return the index of each symbol in ``known``, [len(symbols)]; -1 if it is not known.

    An exact match takes precedence over one that ignores case. Known symbols that differ only in
    case match exactly or not at all.
    """
    found = pd.Index(known).get_indexer(pd.Index(symbols))
    folded = pd.Series([symbol.casefold() for symbol in known])
    folded = folded[~folded.duplicated(keep=False)]
    without_case = pd.Index(folded).get_indexer(pd.Index([s.casefold() for s in symbols]))
    columns = np.append(folded.index.to_numpy(), -1)  # so that -1, not found, maps to -1
    found = np.where(found >= 0, found, columns[without_case])
    return found.astype(np.int64)


def find_symbol(symbol: object, known: Sequence[str], key: str, source: str) -> int:
    """Return the index in ``known`` of the symbol that a setting names.

    Args:
        symbol: Value of the setting.
        known: The symbols of the source.
        key: The setting, for errors.
        source: File or folder with the symbols, for errors.

    Raises:
        InputError: The value is not a symbol, or is not known.
    """
    text = setting_text(symbol, key)
    column = int(find_symbols([text], known)[0])
    if column < 0:
        raise InputError(
            f"{source} has no rows of {text!r} ({key}); {explain_unknown([text], known)}"
        )
    return column


def explain_unknown(symbols: Sequence[str], known: Sequence[str]) -> str:
    """Suggest why symbols are unknown: the tail of an error message."""
    full = {symbol.lstrip("0").casefold(): symbol for symbol in known if symbol.startswith("0")}
    short = [symbol for symbol in symbols if symbol.isdecimal() and symbol.casefold() in full]
    if short:
        return (
            f"{short[0]} is {full[short[0]]} without its leading zeros, which integers lose: store "
            "symbols as text"
        )
    if len(symbols) == 1:
        return did_you_mean(symbols[0], known)
    return f"known are {shorten(known, limit=3)}"
