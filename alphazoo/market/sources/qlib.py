"""Reads a Qlib data folder.

Its files are ``calendars/day.txt``, ``instruments/<universe>.txt`` and
``features/<symbol>/<field>.day.bin``. The latter consists of little-endian float32 values: the
calendar row of the first day, followed by one value per day.
Format: https://qlib.readthedocs.io/en/latest/component/data.html
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.errors import InputError, did_you_mean, shorten
from alphazoo.market.clean import REQUIRED, Arrays, BadPrices, Indices, Panel, index_symbols
from alphazoo.market.dates import DateRules, parse_dates
from alphazoo.market.symbols import parse_text_setting
from alphazoo.market.tables import Table
from alphazoo.market.values import parse_symbols

log = logging.getLogger(__name__)

OPTIONAL = ("vwap", "factor")  # fields that a folder, or some of its stocks, may lack


def read_qlib(
    path: str | Path,
    *,
    universe: str,
    benchmark: str | None = None,
    indices: Sequence[str] = (),
    bad_prices: BadPrices = "missing",
) -> Arrays:
    """Read the stocks of a universe from a Qlib data folder.

    Args:
        path: The folder.
        universe: Name of a file in ``instruments/``, without ``.txt``. Its rows are symbol, from
            and to; a symbol may have several rows.
        benchmark: Symbol of an index in ``features/``; None for no benchmark.
        indices: Symbols of indices in ``features/``, for the market state. Their fields are
            ``close``, ``volume`` and, if the file exists, ``amount``.
        bad_prices: ``"missing"`` or ``"refuse"``, see `alphazoo.market.market.Market.from_arrays`.

    Raises:
        InputError: A file, the universe or an index is missing, or a file is damaged.
    """
    folder = Path(
        path if isinstance(path, Path) else parse_text_setting(path, "data.path")
    ).expanduser()
    universe = parse_text_setting(universe, "data.universe")
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
    return Arrays(
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
    """Return the folder of each symbol by its case-folded symbol; Qlib's folders are lower-case.

    Qlib prefixes the folders of symbols that Windows reserves, such as ``con`` and ``aux``.
    """
    found: dict[str, Path] = {}
    for folder in sorted(features.iterdir()) if features.is_dir() else []:
        symbol = folder.name.casefold().removeprefix("_qlib_")
        if folder.is_dir() and symbol in found:
            raise InputError(f"two folders are of {symbol}: {found[symbol]} and {folder}")
        if folder.is_dir():
            found[symbol] = folder
    return found


def _read_lines(file: Path, columns: Sequence[str]) -> Table:
    """Read a tab-separated file without header; blank lines are skipped, but count as lines."""
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
        raise InputError(f"the calendar {file} does not exist: is this a Qlib data folder?")
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
            raise InputError(f"{table.place(end, int(np.argmax(rows < 0)))}: the date is missing")
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
    name = parse_text_setting(symbol, "data.benchmark").casefold()
    file = folders.get(name, features / name) / "close.day.bin"
    if not file.is_file():
        raise InputError(
            f"the benchmark {file} does not exist: set data.benchmark to another symbol, or to null"
        )
    return _read_series(file, n_days)


def _read_indices(
    features: Path, folders: Mapping[str, Path], symbols: list[str], n_days: int
) -> Indices:
    found: dict[str, dict[str, npt.NDArray[np.float32]]] = {}
    for symbol in symbols:
        folder = folders.get(symbol.casefold())
        if folder is None:
            hint = did_you_mean(symbol.upper(), map(str.upper, folders))
            raise InputError(f"data.indices: no folder {features / symbol.casefold()}; {hint}")
        files = {name: folder / f"{name}.day.bin" for name in ("close", "volume", "amount")}
        found[symbol] = {
            name: _read_series(file, n_days)
            for name, file in files.items()
            if name != "amount" or file.is_file()
        }
    return found


def _read_series(file: Path, n_days: int) -> npt.NDArray[np.float32]:
    """Read the series of a file, [D]; NaN where it has no value."""
    if not file.is_file():
        raise InputError(f"no file {file}")
    size = file.stat().st_size
    if size % 4 or size == 0:
        raise InputError(f"{file} has {size} bytes, expected a positive multiple of 4 (float32)")
    data = np.fromfile(file, dtype="<f4")
    start, values = data[0], data[1:]
    if not (start >= 0 and start == np.floor(start) and start + len(values) <= n_days):
        raise InputError(
            f"{file} has {len(values)} values from calendar row {start} on, which exceeds the "
            f"calendar of {n_days} days"
        )
    series = np.full(n_days, np.nan, dtype=np.float32)
    series[int(start) : int(start) + len(values)] = values
    return series
