"""Long table: one row per date and symbol, from Parquet, CSV or a pandas DataFrame."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.data.adjust import adjust_prices
from alphazoo.data.clean import REQUIRED, BadPrices, Panel, index_symbols
from alphazoo.data.market import Market
from alphazoo.data.tables import (
    Rows,
    name_table,
    parse_dates,
    parse_numbers,
    parse_symbols,
    read_columns,
    refuse_twice,
)
from alphazoo.errors import InputError, did_you_mean

log = logging.getLogger(__name__)

KEYS = ("date", "symbol")
OPTIONAL = ("vwap", "adjusted_close", "split", "dividend", "member")


def read_table(
    table: str | Path | pd.DataFrame,
    *,
    columns: Mapping[str, str | None] | None = None,
    extra: Sequence[str] = (),
    benchmark: str | None = None,
    indices: Sequence[str] = (),
    bad_prices: BadPrices = "missing",
) -> Market:
    """Read a market from a long table.

    Prices are adjusted here, by ``adjusted_close`` or by ``split`` and ``dividend``, see
    `alphazoo.data.adjust`.

    Args:
        table: A ``.parquet`` or ``.csv`` file, or a DataFrame.
        columns: Names in the table of ``date symbol open high low close volume`` and, where
            wanted, of ``vwap adjusted_close split dividend member``; a name left out is itself for
            the first seven, absent for the others. ``member`` is true on the days on which a stock
            belongs to the universe; without it every stock with a row does.
        extra: Further columns of numbers, such as fundamentals: fields of the market of that name,
            for features to use as they are. What a row says must be known after that day's close.
        benchmark: Symbol whose adjusted close is the benchmark; it leaves the universe.
        indices: Symbols of indices, for the market's state; they leave the universe, too. Their
            turnover is the column ``amount`` where ``extra`` names it, else ``volume``.
        bad_prices: ``"missing"`` or ``"refuse"``, see `Market.from_arrays`.

    Raises:
        InputError: A file, column, benchmark or index is missing, a date cannot be parsed, a value
            is no number, or a pair of date and symbol stands twice.
    """
    source, names = name_table(table), _column_names(columns or {})
    for name in extra:
        if name in (*KEYS, *REQUIRED, *OPTIONAL):
            raise InputError(f"extra columns have names of their own, got {name!r}")
    names |= {name: name for name in extra}
    frame = read_columns(table, names, key="data.columns", optional=OPTIONAL, text=["symbol"])
    rows, days = pd.factorize(parse_dates(frame.pop("date"), source), sort=True)
    dates = pd.DatetimeIndex(days)
    symbols, stocks = parse_symbols(frame.pop("symbol"), source)
    refuse_twice(dates, symbols, rows, stocks, source)
    _warn_of_order(rows, stocks, source)

    shape = (len(dates), len(symbols))
    panels = {name: _panel(frame.pop(name), name, rows, stocks, shape, source) for name in [*frame]}
    members = _members(panels.pop("member", None), panels["close"], source)
    factor = adjust_prices(panels, dates, symbols, source)
    level = None
    if benchmark is not None:
        level = _take_series(panels, members, symbols, benchmark, "benchmark", source)["close"]
    series = {
        symbol: _take_series(panels, members, symbols, symbol, "index", source)
        for symbol in index_symbols(indices)
    }
    return Market.from_arrays(
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
            raise InputError(f"columns has an unknown key {name!r}; {did_you_mean(name, known)}")
    names = {name: columns.get(name, name) for name in (*KEYS, *REQUIRED)}
    names |= {name: columns[name] for name in OPTIONAL if columns.get(name)}
    for name, column in names.items():
        if column is None:
            raise InputError(f"columns.{name} is empty, but every table needs a {name} column")
    if "adjusted_close" in names and ("split" in names or "dividend" in names):
        raise InputError(
            "columns names adjusted_close and split or dividend: choose one way of adjusting, "
            "set the other to null"
        )
    return {name: column for name, column in names.items() if column is not None}


def _warn_of_order(rows: Rows, stocks: Rows, source: str) -> None:
    order = np.argsort(stocks, kind="stable")
    same_stock = np.diff(stocks[order]) == 0
    if (same_stock & (np.diff(rows[order]) < 0)).any():
        log.warning("%s: dates are not in order; sorted", source)


def _panel(
    column: "pd.Series[float]",
    name: str,
    rows: Rows,
    stocks: Rows,
    shape: tuple[int, int],
    source: str,
) -> Panel:
    numbers = parse_numbers(column, name, source)
    panel = np.full(shape, np.nan, dtype=np.float32)
    panel[rows, stocks] = numbers.to_numpy(dtype=np.float32, na_value=np.nan)
    return panel


def _members(flags: Panel | None, close: Panel, source: str) -> npt.NDArray[np.bool_]:
    if flags is None:
        return np.isfinite(close)
    other = flags[~np.isnan(flags) & (flags != 0) & (flags != 1)]
    if other.size:
        raise InputError(f"{source}, member: expected true or false, 1 or 0, found {other[0]}")
    members: npt.NDArray[np.bool_] = flags == 1
    return members


def _take_series(
    panels: Mapping[str, Panel],
    members: npt.NDArray[np.bool_],
    symbols: list[str],
    symbol: str,
    role: str,
    source: str,
) -> dict[str, npt.NDArray[np.float32]]:
    """Series [D] of a benchmark or index, which leaves the universe."""
    if symbol not in symbols:
        hint = did_you_mean(symbol, symbols)
        raise InputError(f"{source} has no rows of the {role} {symbol!r}; {hint}")
    column = symbols.index(symbol)
    members[:, column] = False
    wanted = [name for name in ("close", "volume", "amount") if name in panels]
    return {name: panels[name][:, column].copy() for name in wanted}
