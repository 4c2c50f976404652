"""Qlib data folder: ``calendars/day.txt``, ``instruments/<universe>.txt``, ``features/<symbol>/``.

A ``<field>.day.bin`` holds little-endian float32: the calendar row of the first day, then a value
per day.
Format: https://qlib.readthedocs.io/en/latest/component/data.html
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.data.clean import REQUIRED, BadPrices, Indices, Panel, index_symbols
from alphazoo.data.dates import DateRules, parse_dates
from alphazoo.data.market import Market
from alphazoo.data.symbols import parse_symbols, setting_text
from alphazoo.data.tables import Table
from alphazoo.errors import InputError, did_you_mean, shorten

log = logging.getLogger(__name__)

OPTIONAL = ("vwap", "factor")  # files that not every folder or stock has


def read_qlib(
    path: str | Path,
    *,
    universe: str,
    benchmark: str | None = None,
    indices: Sequence[str] = (),
    bad_prices: BadPrices = "missing",
) -> Market:
    """Read the stocks of a universe from a Qlib data folder.

    Args:
        path: The folder.
        universe: Name of a file in ``instruments/`` without ``.txt``: rows of symbol, from, to; a
            symbol may have several rows.
        benchmark: Symbol of an index in ``features/``.
        indices: Symbols of indices in ``features/``, for the market's state: ``close``, ``volume``
            and, where there is a file of it, ``amount``.
        bad_prices: ``"missing"`` or ``"refuse"``, see `Market.from_arrays`.

    Raises:
        InputError: A file is missing or damaged, or the universe or an index is not there.
    """
    folder = Path(path if isinstance(path, Path) else setting_text(path, "data.path")).expanduser()
    universe = setting_text(universe, "data.universe")
    dates = _read_calendar(folder / "calendars" / "day.txt")
    periods = _read_periods(folder / "instruments", universe)
    folders = _stock_folders(folder / "features")
    names = sorted(periods["symbol"].unique())
    symbols = [name for name in names if name.casefold() in folders]
    if not symbols:
        raise InputError(f"{folder / 'features'} has no folder for any symbol of {universe!r}")
    absent = sorted(set(names) - set(symbols))
    notes = []
    if absent:
        notes = [f"{len(absent)} symbols of {universe} have no data: {shorten(absent)}"]
        log.warning(*notes)
    fields = _read_fields(folders, symbols, len(dates))
    factor = fields.pop("factor", None)
    return Market.from_arrays(
        name=f"{folder.name}/{universe}",
        dates=dates,
        symbols=symbols,
        fields=fields,
        members=_membership(periods, dates, symbols),
        benchmark=_read_benchmark(folder / "features", folders, benchmark, len(dates)),
        indices=_read_indices(folder / "features", folders, index_symbols(indices), len(dates)),
        factor=factor,
        notes=notes,
        bad_prices=bad_prices,
    )


def _stock_folders(features: Path) -> dict[str, Path]:
    """The folder of each symbol, by the symbol without case; Qlib's are lower-case."""
    found = sorted(features.iterdir()) if features.is_dir() else []
    return {folder.name.casefold(): folder for folder in found if folder.is_dir()}


def _read_lines(file: Path, columns: Sequence[str]) -> Table:
    """Rows of a text file without header, by tabs; blank lines are left out, but counted."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8: {error}") from error
    numbers = [number for number, line in enumerate(lines) if line.strip()]
    rows = [lines[number].strip().split("\t") for number in numbers]
    for number, row in zip(numbers, rows, strict=True):
        if len(row) < len(columns):
            raise InputError(
                f"{file}, line {number + 1}: expected {', '.join(columns)}, separated by tabs, "
                f"found {lines[number]!r}"
            )
    if not rows:
        raise InputError(f"{file} has no rows")
    frame = pd.DataFrame([row[: len(columns)] for row in rows], columns=list(columns), dtype=object)
    return Table(str(file), frame, {}, lambda row: numbers[row] + 1)


def _read_calendar(file: Path) -> pd.DatetimeIndex:
    if not file.is_file():
        raise InputError(f"no calendar {file}: is this a Qlib data folder?")
    dates, rows = parse_dates(_read_lines(file, ["date"]), "date", DateRules())
    return dates[rows]


def _read_periods(folder: Path, universe: str) -> pd.DataFrame:
    file = folder / f"{universe}.txt"
    if not file.is_file():
        hint = did_you_mean(universe, (known.stem for known in folder.glob("*.txt")))
        raise InputError(f"no universe {universe!r} in {folder}; {hint}")
    table = _read_lines(file, ["symbol", "from", "to"])
    symbols, stocks = parse_symbols(table)
    periods = pd.DataFrame({"symbol": pd.Index(symbols, dtype="str")[stocks].str.upper()})
    for end in ("from", "to"):
        days, rows = parse_dates(table, end, DateRules(), ends=True)
        if (rows < 0).any():
            raise InputError(f"{table.place(end, int(np.argmax(rows < 0)))}: no date")
        periods[end] = days[rows]
    reverse = np.flatnonzero(periods["from"] > periods["to"])
    if len(reverse):
        row = int(reverse[0])
        raise InputError(
            f"{file}, {table.at(row)}: the period of {periods.symbol[row]} ends before it starts"
        )
    return periods


def _membership(
    periods: pd.DataFrame, dates: pd.DatetimeIndex, symbols: list[str]
) -> npt.NDArray[np.bool_]:
    column = {symbol: index for index, symbol in enumerate(symbols)}
    members = np.zeros((len(dates), len(symbols)), dtype=bool)
    first = dates.searchsorted(periods["from"], side="left")
    last = dates.searchsorted(periods["to"], side="right")
    for symbol, start, stop in zip(periods["symbol"], first, last, strict=True):
        if symbol in column:
            members[start:stop, column[symbol]] = True
    return members


def _read_fields(folders: Mapping[str, Path], symbols: list[str], n_days: int) -> dict[str, Panel]:
    stocks = [folders[symbol.casefold()] for symbol in symbols]
    found = [
        name
        for name in OPTIONAL
        if any((folder / f"{name}.day.bin").is_file() for folder in stocks)
    ]
    names = [*REQUIRED, *found]
    fields = {name: np.full((n_days, len(symbols)), np.nan, dtype=np.float32) for name in names}
    for column, folder in enumerate(stocks):
        for name, panel in fields.items():
            file = folder / f"{name}.day.bin"
            if name in OPTIONAL and not file.is_file():
                continue
            panel[:, column] = _read_series(file, n_days)
    return fields


def _read_benchmark(
    features: Path, folders: Mapping[str, Path], symbol: str | None, n_days: int
) -> npt.NDArray[np.float32] | None:
    if symbol is None:
        return None
    name = setting_text(symbol, "data.benchmark").casefold()
    file = folders.get(name, features / name) / "close.day.bin"
    if not file.is_file():
        raise InputError(f"no benchmark {file}: set data.benchmark to another symbol, or to null")
    return _read_series(file, n_days)


def _read_indices(
    features: Path, folders: Mapping[str, Path], symbols: list[str], n_days: int
) -> Indices:
    found: dict[str, dict[str, npt.NDArray[np.float32]]] = {}
    for symbol in symbols:
        of_index = folders.get(symbol.casefold())
        if of_index is None:
            hint = did_you_mean(symbol.upper(), map(str.upper, folders))
            raise InputError(f"data.indices: no folder {features / symbol.casefold()}; {hint}")
        files = {name: of_index / f"{name}.day.bin" for name in ("close", "volume", "amount")}
        found[symbol] = {
            name: _read_series(file, n_days)
            for name, file in files.items()
            if name != "amount" or file.is_file()
        }
    return found


def _read_series(file: Path, n_days: int) -> npt.NDArray[np.float32]:
    """[D], NaN where the file has no value."""
    if not file.is_file():
        raise InputError(f"no file {file}")
    size = file.stat().st_size
    if size % 4 or size == 0:
        raise InputError(f"{file} has {size} bytes, expected a positive multiple of 4 (float32)")
    data = np.fromfile(file, dtype="<f4")
    start, values = data[0], data[1:]
    if not (start >= 0 and start == np.floor(start) and start + len(values) <= n_days):
        raise InputError(
            f"{file} has {len(values)} values from calendar row {start}, beyond the calendar of "
            f"{n_days} days"
        )
    series = np.full(n_days, np.nan, dtype=np.float32)
    series[int(start) : int(start) + len(values)] = values
    return series
