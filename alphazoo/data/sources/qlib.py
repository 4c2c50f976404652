"""Qlib data folder: ``calendars/day.txt``, ``instruments/<universe>.txt``, ``features/<symbol>/``.

A ``<field>.day.bin`` holds little-endian float32: the calendar row of the first day, then a value
per day.
Format: https://qlib.readthedocs.io/en/latest/component/data.html
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.data.clean import REQUIRED, BadPrices, Indices, Panel, index_symbols
from alphazoo.data.market import Market
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
    folder = Path(path).expanduser()
    dates = _read_calendar(folder / "calendars" / "day.txt")
    periods = _read_periods(folder / "instruments", universe)
    names = sorted(periods["symbol"].unique())
    symbols = [name for name in names if (folder / "features" / name.lower()).is_dir()]
    if not symbols:
        raise InputError(f"{folder / 'features'} has no folder for any symbol of {universe!r}")
    absent = sorted(set(names) - set(symbols))
    notes = []
    if absent:
        notes = [f"{len(absent)} symbols of {universe} have no data: {shorten(absent)}"]
        log.warning(*notes)
    fields = _read_fields(folder / "features", symbols, len(dates))
    factor = fields.pop("factor", None)
    return Market.from_arrays(
        name=f"{folder.name}/{universe}",
        dates=dates,
        symbols=symbols,
        fields=fields,
        members=_membership(periods, dates, symbols),
        benchmark=_read_benchmark(folder / "features", benchmark, len(dates)),
        indices=_read_indices(folder / "features", index_symbols(indices), len(dates)),
        factor=factor,
        notes=notes,
        bad_prices=bad_prices,
    )


def _read_calendar(file: Path) -> pd.DatetimeIndex:
    if not file.is_file():
        raise InputError(f"no calendar {file}: is this a Qlib data folder?")
    lines = file.read_text().split()
    dates = pd.to_datetime(pd.Index(lines), format="%Y-%m-%d", errors="coerce")
    wrong = np.flatnonzero(dates.isna())
    if len(wrong):
        raise InputError(
            f"{file}, line {wrong[0] + 1}: {lines[wrong[0]]!r} is not a date YYYY-MM-DD"
        )
    return pd.DatetimeIndex(dates)


def _read_periods(folder: Path, universe: str) -> pd.DataFrame:
    file = folder / f"{universe}.txt"
    if not file.is_file():
        hint = did_you_mean(universe, (known.stem for known in folder.glob("*.txt")))
        raise InputError(f"no universe {universe!r} in {folder}; {hint}")
    columns = ["symbol", "from", "to"]
    try:
        periods = pd.read_csv(
            file, sep="\t", names=columns, usecols=range(3), dtype=str, keep_default_na=False
        )
    except ValueError as error:
        raise InputError(f"{file}: expected rows of symbol, from, to, by tabs: {error}") from error
    if periods.empty:
        raise InputError(f"{file} has no rows")
    for column in columns[1:]:
        parsed = pd.to_datetime(periods[column], errors="coerce")
        if parsed.isna().any():
            line = int(np.argmax(parsed.isna()))
            raise InputError(f"{file}, line {line + 1}: {periods[column][line]!r} is not a date")
        periods[column] = parsed
    reverse = periods["from"] > periods["to"]
    if reverse.any():
        line = int(np.argmax(reverse))
        raise InputError(
            f"{file}, line {line + 1}: the period of {periods.symbol[line]} ends before it starts"
        )
    return periods.assign(symbol=periods["symbol"].str.upper())


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


def _read_fields(folder: Path, symbols: list[str], n_days: int) -> dict[str, Panel]:
    found = [
        name
        for name in OPTIONAL
        if any((folder / symbol.lower() / f"{name}.day.bin").is_file() for symbol in symbols)
    ]
    names = [*REQUIRED, *found]
    fields = {name: np.full((n_days, len(symbols)), np.nan, dtype=np.float32) for name in names}
    for column, symbol in enumerate(symbols):
        for name, panel in fields.items():
            file = folder / symbol.lower() / f"{name}.day.bin"
            if name in OPTIONAL and not file.is_file():
                continue
            panel[:, column] = _read_series(file, n_days)
    return fields


def _read_benchmark(
    folder: Path, symbol: str | None, n_days: int
) -> npt.NDArray[np.float32] | None:
    if symbol is None:
        return None
    file = folder / symbol.lower() / "close.day.bin"
    if not file.is_file():
        raise InputError(f"no benchmark {file}: set data.benchmark to another symbol, or to null")
    return _read_series(file, n_days)


def _read_indices(folder: Path, symbols: list[str], n_days: int) -> Indices:
    found: dict[str, dict[str, npt.NDArray[np.float32]]] = {}
    for symbol in symbols:
        of_index = folder / symbol.lower()
        if not of_index.is_dir():
            hint = did_you_mean(symbol.upper(), (known.name.upper() for known in folder.iterdir()))
            raise InputError(f"data.indices: no folder {of_index}; {hint}")
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
