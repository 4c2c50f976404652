"""Checks and cleans the panels and series of which a market consists."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, Required, TypedDict, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.errors import InputError, check_choice, shorten
from alphazoo.market.planted import Planted
from alphazoo.market.symbols import parse_text_setting

log = logging.getLogger(__name__)

PRICES = ("open", "high", "low", "close", "vwap")
TRADED = ("volume", "amount")
REQUIRED = ("open", "high", "low", "close", "volume")

BadPrices = Literal["missing", "refuse"]
Panel = npt.NDArray[np.float32]
Indices = Mapping[str, Mapping[str, Panel]]  # [D] by symbol and field


class Arrays(TypedDict, total=False):
    """The result of a source: arguments of `alphazoo.market.market.Market.from_arrays`."""

    name: Required[str]
    dates: Required[pd.DatetimeIndex]
    symbols: Required[Sequence[str]]
    fields: Required[Mapping[str, Panel]]
    members: Required[npt.NDArray[np.bool_]]
    benchmark: npt.NDArray[np.float32] | None
    factor: Panel | None
    notes: Sequence[str]
    indices: Indices | None
    bad_prices: BadPrices
    planted: Planted | None


def check_panels(
    name: str,
    dates: pd.DatetimeIndex,
    symbols: Sequence[str],
    fields: Mapping[str, Panel],
    members: npt.NDArray[np.bool_],
    benchmark: npt.NDArray[np.float32] | None,
) -> None:
    """Raise an `InputError` if panels are inconsistent.

    See `alphazoo.market.market.Market.from_arrays` for the requirements.
    """
    missing = [field for field in REQUIRED if field not in fields]
    if missing:
        raise InputError(f"market {name!r} lacks the fields {missing}; it has {sorted(fields)}")
    falls = np.flatnonzero(np.diff(dates.asi8) <= 0)
    if len(falls):
        before, after = (f"{dates[row]:%Y-%m-%d}" for row in (falls[0], falls[0] + 1))
        raise InputError(
            f"the calendar of market {name!r} must be increasing, but {after} follows {before}"
        )
    expected = (len(dates), len(symbols))
    repeated = [symbol for symbol, count in Counter(symbols).items() if count > 1]
    if repeated:
        raise InputError(f"market {name!r} has duplicate symbols: {shorten(repeated)}")
    for label, array in {**fields, "members": members}.items():
        kind = np.dtype(bool if label == "members" else np.float32)
        if array.shape != expected or array.dtype != kind:
            raise InputError(
                f"market {name!r}: {label} is {array.dtype} {array.shape}, "
                f"expected {kind} {expected}"
            )
    if benchmark is not None and benchmark.shape != expected[:1]:
        raise InputError(
            f"market {name!r}: the benchmark has shape {benchmark.shape}, expected {expected[:1]}"
        )


def index_symbols(indices: Sequence[object]) -> list[str]:
    """Return the symbols of the setting ``data.indices``.

    Raises:
        InputError: The setting is not a list of symbols, or has duplicates.
    """
    if not isinstance(indices, list | tuple):
        raise InputError(f"data.indices must be a list of symbols, got {indices!r}")
    symbols = [parse_text_setting(symbol, "data.indices") for symbol in indices]
    if len({symbol.casefold() for symbol in symbols}) < len(symbols):
        raise InputError(f"data.indices must not have duplicate symbols, got {indices!r}")
    return symbols


def check_indices(name: str, indices: Indices, n_days: int) -> None:
    """Raise an `InputError` if series of an index are missing or do not match the calendar."""
    for symbol, series in indices.items():
        missing = [field for field in ("close", "volume") if field not in series]
        if missing:
            raise InputError(
                f"market {name!r}: index {symbol!r} lacks {missing}; it has {sorted(series)}"
            )
        for field, values in series.items():
            if values.shape != (n_days,) or values.dtype != np.float32:
                raise InputError(
                    f"market {name!r}: {field} of index {symbol!r} is {values.dtype} "
                    f"{values.shape}, expected float32 ({n_days},)"
                )


def clean_prices(
    name: str,
    dates: pd.DatetimeIndex,
    symbols: Sequence[str],
    fields: Mapping[str, Panel],
    bad_prices: BadPrices,
) -> None:
    """Replace non-positive and infinite values by NaN, in place, and log them, or reject them.

    Args:
        name: Name of the market, for messages.
        dates: [D].
        symbols: [S].
        fields: [D, S] each.
        bad_prices: ``"missing"`` to replace, ``"refuse"`` to reject.

    Raises:
        InputError: There are such values, and ``bad_prices`` is ``"refuse"``.
    """
    check_choice("bad_prices", bad_prices, get_args(BadPrices))
    listed: list[str] = []
    count = 0
    for field, panel in fields.items():
        wrong = np.isinf(panel)
        if field in PRICES:
            wrong |= panel <= 0
        elif field in TRADED:  # other fields, such as earnings, may be negative
            wrong |= panel < 0
        rows, columns = np.nonzero(wrong)
        count += len(rows)
        listed += [
            f"{field} {panel[row, column]} of {symbols[column]} on {dates[row]:%Y-%m-%d}"
            for row, column in zip(rows[:5], columns[:5], strict=True)
        ]
        if bad_prices == "missing":
            panel[wrong] = np.nan
    if not count:
        return
    rest = f" and {count - len(listed[:5])} more" if count > 5 else ""
    examples = ", ".join(listed[:5]) + rest
    fault = f"market {name!r} has {count} non-positive or infinite values ({examples})"
    if bad_prices == "refuse":
        raise InputError(f"{fault}; correct them or set bad_prices=missing")
    log.warning("%s, which are treated as missing", fault)
