"""Adjusting: raw prices and volumes become comparable across splits and dividends."""

import logging

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.data.clean import PRICES, Panel
from alphazoo.errors import InputError, shorten

log = logging.getLogger(__name__)


def adjust_prices(
    panels: dict[str, Panel], dates: pd.DatetimeIndex, symbols: list[str], source: str
) -> Panel | None:
    """Adjust the prices among some panels [D, S], and the volume by the inverse, in place.

    By ``adjusted_close`` where it is given, else by ``split`` (new shares per old; 0 and NaN mean
    none) and ``dividend`` (cash per share on the ex-date, reinvested at its close), else not at
    all. Splits and dividends accumulate forwards: a price depends on nothing that comes later.

    Returns:
        [D, S], adjusted price / raw price, or None where nothing is adjusted.

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
            _refuse(name, event, (event < 0) | np.isinf(event), dates, symbols, source)
        split = np.where(events["split"] > 0, events["split"], 1)
        paid = events["dividend"] > 0
        unpriced = paid & ~(close > 0)
        if unpriced.any():
            log.warning(
                "%s: %d dividends fall on days without a close and are left out",
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


def _refuse(
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
        raise InputError(f"{source}: {len(rows)} values of {name} are not possible: {listed}")
