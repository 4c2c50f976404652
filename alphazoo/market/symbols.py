"""Symbols: the texts that identify stocks, whatever type a table stores them as.

Integers and integral floats become their digits, bytes are decoded as UTF-8, and surrounding
whitespace is stripped. Symbols are sorted as text. Two symbols that differ only in case identify
the same stock.
"""

import re
import string
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.errors import InputError, did_you_mean, shorten

# str.strip does not remove byte order marks and zero-width spaces
STRIPPED = string.whitespace + "\xa0\u2007\u202f\u3000\u200b\u2060\ufeff"
INTEGRAL = re.compile(r"(\d+)\.0+")  # an integer that was stored as a float


def parse_symbol(value: object) -> str:
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


def parse_text_setting(value: object, key: str) -> str:
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


def find_symbols(symbols: Sequence[str], known: Sequence[str]) -> npt.NDArray[np.int64]:
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
    text = parse_text_setting(symbol, key)
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
