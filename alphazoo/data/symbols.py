"""Symbols: the text that identifies a stock, however it is stored.

A symbol is text. Integers and integral floats stand for their digits, bytes for their UTF-8 text;
surrounding white space is no part of it. Symbols are sorted as text. Two that differ in case alone
are one stock.
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

# a byte order mark and spaces without width are no white space to str.strip
AROUND = string.whitespace + "\xa0\u2007\u202f\u3000\u200b\u2060\ufeff"
DIGITS = re.compile(r"(\d+)\.0+")  # a number that was stored as a float


def symbol_text(value: object) -> str:
    """The symbol that a value stands for; empty where it stands for none.

    Raises:
        ValueError: It is no symbol: a fraction, a boolean, a date, bytes that are not UTF-8 or text
            with control characters.
    """
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        text = value.strip(AROUND)
        if not text.isprintable() and any(ord(character) < 32 for character in text):
            raise ValueError(f"{value!r} has control characters in it")
        digits = DIGITS.fullmatch(text)
        return digits[1] if digits else text
    if isinstance(value, float | Decimal | np.floating):
        if value != value:  # NaN
            return ""
        if np.isfinite(float(value)) and value == int(value):
            return str(int(value))
    elif isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{value!r} is no symbol: expected text or an integer")


def setting_text(value: object, key: str) -> str:
    """A setting that is text, such as a symbol, path or name of a column.

    The command line makes numbers of what looks like one: ``data.benchmark=399300``.

    Raises:
        InputError: It is no text and no integer, so that what was written is not known any more.
    """
    if isinstance(value, float | bool) or not isinstance(value, str | int):
        raise InputError(
            f"{key} is text, but arrived as {value!r}: put it in quotes, on the command line as "
            f"\"{key}='TEXT'\""
        )
    return str(value).strip(AROUND)


def parse_symbols(table: "Table", name: str = "symbol") -> tuple[list[str], "Rows"]:
    """The symbols of a column, sorted, and which of them each row has: [R].

    Of spellings that differ in case or in spaces around them the first in sorted order stands for
    all.

    Raises:
        InputError: A row has none, or something else.
    """
    values, codes = table.distinct(name)
    if (codes < 0).any():
        raise InputError(f"{table.place(name, int(np.argmax(codes < 0)))}: no symbol")
    texts = []
    for index, value in enumerate(values):
        try:
            texts.append(symbol_text(value))
            fault = "" if texts[-1] else "no symbol"
        except ValueError as error:
            fault = str(error)
        if fault:
            raise InputError(f"{table.place(name, int(np.argmax(codes == index)))}: {fault}")
    spellings = _merge(texts)
    _report_spellings(values, texts, spellings, table.name)
    symbols = sorted({spellings[text.casefold()] for text in texts})
    column = {symbol: index for index, symbol in enumerate(symbols)}
    of_value = np.array([column[spellings[text.casefold()]] for text in texts], dtype=np.int64)
    return symbols, of_value[codes]


def _merge(texts: Iterable[str]) -> dict[str, str]:
    """The spelling that stands for all, by the symbol without case."""
    spellings: dict[str, str] = {}
    for text in sorted(texts, reverse=True):
        spellings[text.casefold()] = text
    return spellings


def _report_spellings(
    values: Sequence[object], texts: Sequence[str], spellings: dict[str, str], source: str
) -> None:
    found = defaultdict(set)
    for value, text in zip(values, texts, strict=True):
        found[spellings[text.casefold()]].add(repr(value))
    several = {symbol: written for symbol, written in found.items() if len(written) > 1}
    if several:
        told = shorten(f"{' and '.join(sorted(w))} as {s}" for s, w in sorted(several.items()))
        log.warning("%s: %d symbols have several spellings: %s", source, len(several), told)


def find_symbols(symbols: Sequence[str], known: Sequence[str]) -> "Rows":
    """Column of each symbol among the known ones, -1 where it is not there: [len(symbols)].

    The same spelling if there is one, else the one that differs in case alone.
    """
    found = pd.Index(known).get_indexer(pd.Index(symbols))
    folded = pd.Series([symbol.casefold() for symbol in known])
    folded = folded[~folded.duplicated(keep=False)]
    without_case = pd.Index(folded).get_indexer(pd.Index([s.casefold() for s in symbols]))
    columns = np.append(folded.index.to_numpy(), -1)  # the last is that of the unknown
    found = np.where(found >= 0, found, columns[without_case])
    return found.astype(np.int64)


def find_symbol(symbol: object, known: Sequence[str], key: str, source: str) -> int:
    """Column of the symbol that a setting names.

    Raises:
        InputError: It is no symbol, or is not there.
    """
    text = setting_text(symbol, key)
    column = int(find_symbols([text], known)[0])
    if column < 0:
        raise InputError(
            f"{source} has no rows of {text!r} ({key}); {explain_unknown([text], known)}"
        )
    return column


def explain_unknown(symbols: Sequence[str], known: Sequence[str]) -> str:
    """What symbols may be that are not there: the tail of a message."""
    short = {symbol.lstrip("0").casefold(): symbol for symbol in known if symbol.startswith("0")}
    lost = [symbol for symbol in symbols if symbol.isdecimal() and symbol.casefold() in short]
    if lost:
        return (
            f"{lost[0]} is {short[lost[0]]} without its leading zeros, which integers lose: store "
            "symbols as text"
        )
    if len(symbols) == 1:
        return did_you_mean(symbols[0], known)
    return f"there it is {shorten(known, limit=3)}"
