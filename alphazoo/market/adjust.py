"""Adjusts prices and volumes, so that they are comparable across splits and dividends."""

import logging

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.errors import InputError, shorten
from alphazoo.market.clean import PRICES, Panel

log = logging.getLogger(__name__)


def adjust_prices(
    panels: dict[str, Panel], dates: pd.DatetimeIndex, symbols: list[str], source: str
) -> Panel | None:
    """Multiply the price panels by an adjustment factor, and divide the volume by it, in place.

    The factor comes from ``adjusted_close`` if there is such a panel, else from ``split`` (new
    shares per old share; 0 and NaN mean no split) and ``dividend`` (cash per share on the ex-date,
    reinvested at its close). Splits and dividends accumulate forwards, so an adjusted price never
    depends on later events.

    Args:
        panels: [D, S] by name; the panels that give the factor are removed.
        dates: [D].
        symbols: S symbols.
        source: Name of the source, for messages.

    Returns:
        [D, S], adjusted price / raw price, or None if no panel gives a factor.

    Raises:
        InputError: A split or dividend is negative or infinite.
    """
    close = panels["close"]
    if "adjusted_close" in panels:
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = panels.pop("adjusted_close") / close
    elif "split" in panels or "dividend" in panels:
        events = {name: panels.pop(name, np.zeros_like(close)) for name in ("split", "dividend")}
        for name, event in events.items():
            _reject(name, event, (event < 0) | np.isinf(event), dates, symbols, source)
        split = np.where(events["split"] > 0, events["split"], 1)
        paid = events["dividend"] > 0
        unpriced = paid & ~(close > 0)
        if unpriced.any():
            log.warning(
                "%s: %d dividends are ignored, because the stock has no close on the ex-date",
                source,
                unpriced.sum(),
            )
        payout = np.divide(
            events["dividend"], close, out=np.zeros_like(close), where=paid & ~unpriced
        )
        factor = np.cumprod(split * (1.0 + payout), axis=0, dtype=np.float64).astype(np.float32)
    else:
        return None
    for name, panel in panels.items():
        if name in PRICES:
            panel *= factor
    panels["volume"] /= factor
    return factor


def _reject(
    name: str,
    panel: Panel,
    wrong: npt.NDArray[np.bool_],
    dates: pd.DatetimeIndex,
    symbols: list[str],
    source: str,
) -> None:
    rows, stocks = np.nonzero(wrong)
    if len(rows):
        listed = shorten(
            f"{panel[row, stock]} of {symbols[stock]} on {dates[row]:%Y-%m-%d}"
            for row, stock in zip(rows.tolist(), stocks.tolist(), strict=True)
        )
        raise InputError(
            f"{source}: {len(rows)} values of {name} are negative or infinite: {listed}"
        )
