"""Reads a long table with one row per date and symbol: Parquet, CSV, DataFrame or Arrow."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alphazoo.errors import InputError, did_you_mean
from alphazoo.market.adjust import adjust_prices
from alphazoo.market.clean import REQUIRED, Arrays, BadPrices, Panel, index_symbols
from alphazoo.market.dates import DateFormat, DateRules, TimeZone, parse_dates
from alphazoo.market.symbols import find_symbol, parse_text_setting
from alphazoo.market.tables import AnyTable, Rows, open_table, read_columns
from alphazoo.market.values import check_unique, parse_flags, parse_numbers, parse_symbols

log = logging.getLogger(__name__)

KEYS = ("date", "symbol")
OPTIONAL = ("vwap", "adjusted_close", "split", "dividend", "member")


def read_table(
    table: AnyTable,
    *,
    columns: Mapping[str, str | None] | None = None,
    extra: Sequence[str] = (),
    benchmark: str | None = None,
    indices: Sequence[str] = (),
    bad_prices: BadPrices = "missing",
    date_format: DateFormat | None = None,
    timezone: TimeZone | None = None,
) -> Arrays:
    """Read a market from a long table.

    Prices are adjusted by ``adjusted_close``, or by ``split`` and ``dividend``; see
    `alphazoo.market.adjust`.

    Args:
        table: A ``.parquet``, ``.csv`` or ``.csv.gz`` file, a DataFrame, whose index may hold date
            and symbol, or another table that Arrow can read, such as a polars table.
        columns: Names in the table of the columns ``date symbol open high low close volume`` and,
            optionally, ``vwap adjusted_close split dividend member``. The first seven default to
            their own names, and the others to no column. ``member`` is true on days on which a
            stock belongs to the universe; without it, every stock with a close does.
        extra: Names of further numeric columns, such as fundamentals. They become fields of the
            market, which features use without adjustment. The values of a row must be known after
            the close of its day.
        benchmark: Symbol whose adjusted close is the benchmark; it is removed from the universe.
        indices: Symbols of indices, for the market state; they are removed from the universe.
            Their turnover is the column ``amount`` if ``extra`` names it, else ``volume``.
        bad_prices: ``"missing"`` or ``"refuse"``, see `alphazoo.market.market.Market.from_arrays`.
        date_format: Format of dates that are text, such as ``"%d/%m/%Y"``; None detects it, see
            `alphazoo.market.date_formats`.
        timezone: Time zone of the exchange, such as ``"Asia/Shanghai"``, if the dates are
            timestamps in UTC, with or without a time zone.

    Raises:
        InputError: A file, column, benchmark or index is missing, the file is damaged, a date
            cannot be parsed or is ambiguous, a value is not a number, or several rows have the same
            date and symbol.
    """
    names = _column_names(columns or {})
    for name in (extra := [parse_text_setting(name, "data.extra") for name in extra]):
        if name in (*KEYS, *REQUIRED, *OPTIONAL):
            raise InputError(f"data.extra has {name!r}, which is the name of another column")
    names |= {name: name for name in extra}
    numbers = [name for name in names if name not in (*KEYS, "member")]
    opened = open_table(table, "data.path")
    found = read_columns(opened, names, key="data.columns", optional=OPTIONAL, numbers=numbers)
    source = found.name
    rules = DateRules(date_format, timezone, setting="data.{}={}")
    dates, rows = parse_dates(found, "date", rules)
    symbols, stocks = parse_symbols(found)
    check_unique(found, dates, symbols, rows, stocks)
    _warn_of_order(rows, stocks, source)

    def key(row: int) -> str:
        return f"{symbols[stocks[row]]} on {dates[rows[row]]:%Y-%m-%d}"

    shape = (len(dates), len(symbols))
    panels = {}
    for name in numbers:
        panels[name] = np.full(shape, np.nan, dtype=np.float32)
        panels[name][rows, stocks] = parse_numbers(found, name, key)
    members = np.isfinite(panels["close"])
    if "member" in names:
        members[:] = False
        members[rows, stocks] = parse_flags(found, "member")
    factor = adjust_prices(panels, dates, symbols, source)
    level = None
    if benchmark is not None:
        column = find_symbol(benchmark, symbols, "data.benchmark", source)
        level = _take_series(panels, members, column)["close"]
    series = {
        symbol: _take_series(panels, members, find_symbol(symbol, symbols, "data.indices", source))
        for symbol in index_symbols(indices)
    }
    return Arrays(
        name=Path(source).stem,
        dates=dates,
        symbols=symbols,
        fields=panels,
        members=members,
        benchmark=level,
        indices=series,
        factor=factor,
        bad_prices=bad_prices,
    )


def _column_names(columns: Mapping[str, str | None]) -> dict[str, str]:
    known = (*KEYS, *REQUIRED, *OPTIONAL)
    for name in columns:
        if name not in known:
            hint = did_you_mean(name, known)
            raise InputError(f"data.columns has an unknown key {name!r}; {hint}")
    given = {
        name: column if column is None else parse_text_setting(column, f"data.columns.{name}")
        for name, column in columns.items()
    }
    names = {name: given.get(name, name) for name in (*KEYS, *REQUIRED)}
    names |= {name: given[name] for name in OPTIONAL if given.get(name)}
    for name, column in names.items():
        if column is None:
            raise InputError(f"data.columns.{name} is null, but every table needs this column")
    if "adjusted_close" in names and ("split" in names or "dividend" in names):
        raise InputError(
            "data.columns has both adjusted_close and split or dividend: choose one way of "
            "adjusting, and set the other to null"
        )
    return {name: column for name, column in names.items() if column is not None}


def _warn_of_order(rows: Rows, stocks: Rows, source: str) -> None:
    order = np.argsort(stocks, kind="stable")
    same_stock = np.diff(stocks[order]) == 0
    if (same_stock & (np.diff(rows[order]) < 0)).any():
        log.warning("%s: the dates are not in order, and are sorted", source)


def _take_series(
    panels: Mapping[str, Panel], members: npt.NDArray[np.bool_], column: int
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the series [D] of a benchmark or index, and remove it from the universe."""
    members[:, column] = False
    wanted = [name for name in ("close", "volume", "amount") if name in panels]
    return {name: panels[name][:, column].copy() for name in wanted}
