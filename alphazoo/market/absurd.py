"""Warns of prices and volumes that no exchange has seen, because models would learn from them."""

import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.market.clean import Panel

log = logging.getLogger(__name__)

Flags = npt.NDArray[np.bool_]

MOVE = 10.0  # times the close of the day before, or the other prices of the day
OUTSIDE = 0.01  # share by which a close may lie outside low to high: rounding and late corrections
PRICES = (1e-5, 1e7)  # in any currency
VOLUME = 1e13  # shares a day
STILL = 60  # days


def warn_of_absurd_values(
    name: str,
    dates: pd.DatetimeIndex,
    symbols: Sequence[str],
    fields: Mapping[str, Panel],
    members: Flags,
) -> list[str]:
    """Log each kind of absurd value with its number and the first stock and day.

    Args:
        name: Name of the market.
        dates: [D].
        symbols: [S].
        fields: [D, S] each, cleaned.
        members: [D, S]; other values are not looked at.

    Returns:
        The warnings, one per kind.
    """
    found = []
    with np.errstate(all="ignore"):
        for kind, flags in _kinds(fields):
            days, stocks = np.nonzero(flags & members)
            if len(days):
                first = f"{symbols[stocks[0]]} on {dates[days[0]]:%Y-%m-%d}"
                found.append(f"{len(days):,} {kind}, the first of {first}")
                log.warning("market %r has %s", name, found[-1])
    return found


def _kinds(fields: Mapping[str, Panel]) -> Iterator[tuple[str, Flags]]:
    close = fields["close"]
    flags = np.zeros(close.shape, dtype=bool)
    moves = close[1:] / close[:-1]
    flags[1:] = (moves > MOVE) | (moves < 1 / MOVE)
    yield f"closes more than {MOVE:.0f} times, or less than a tenth of, the close before", flags
    del moves
    prices = [fields[field] for field in ("open", "high", "low", "close") if field in fields]
    low, high = np.fmin.reduce(prices), np.fmax.reduce(prices)
    yield f"days whose highest price is more than {MOVE:.0f} times the lowest", high > MOVE * low
    yield (
        f"days with a price below {PRICES[0]:g} or above {PRICES[1]:g}",
        ((low < PRICES[0]) | (high > PRICES[1])),
    )
    del low, high
    if "high" in fields and "low" in fields:
        yield "days with high below low", fields["high"] < fields["low"] * (1 - OUTSIDE)
        yield (
            f"closes more than {OUTSIDE:.0%} outside low to high",
            ((close > fields["high"] * (1 + OUTSIDE)) | (close < fields["low"] * (1 - OUTSIDE))),
        )
    yield f"volumes above {VOLUME:g}", fields["volume"] > VOLUME
    yield f"stocks whose close is the same on all of {STILL} days or more", _still(close)


def _still(close: Panel) -> Flags:
    """Flag the first price of each stock whose close never changes."""
    known = np.isfinite(close)
    same = np.nanmin(close, axis=0, initial=np.inf) == np.nanmax(close, axis=0, initial=-np.inf)
    flags = np.zeros(close.shape, dtype=bool)
    flags[known.argmax(axis=0), np.arange(close.shape[1])] = same & (known.sum(axis=0) >= STILL)
    return flags
