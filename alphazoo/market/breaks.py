"""Finds breaks: prices and volumes whose level changes permanently, and frozen prices.

Each function describes the worst case of every affected stock. Possible causes are an unadjusted
split, a volume whose unit changes from shares to lots, or a source that repeats its last known
price. Because volume after a suspension is arbitrary, only consecutive trading days are compared.
"""

import math
from collections.abc import Iterator

import pandas as pd
import torch

from alphazoo.market.market import Market

# each comment gives the largest value that occurs in correct data of the CSI300
VOLUME_DAYS, VOLUME_FACTOR = 60, 50.0  # a lot is 100 or 1,000 shares; CSI300: 28
PRICE_DAYS, PRICE_FACTOR = 10, 1.8  # the usual smallest split is 2; CSI300: 1.3
FROZEN = 10  # days with the same close; CSI300: 6
FROZEN_PRICES = 5  # days with the same open, high, low and close; CSI300: 4

BLOCK = 2**20  # number of values compared at a time, to bound the memory


def volume_jumps(market: Market) -> list[str]:
    """Find stocks whose volume rises or falls by `VOLUME_FACTOR` or more, and stays there.

    The geometric means over `VOLUME_DAYS` days before and after are compared; the stock must trade
    on at least a third of these days.
    """
    return _jumps(market, "volume", VOLUME_DAYS, VOLUME_FACTOR, at_once=1.0)


def price_jumps(market: Market) -> list[str]:
    """Find stocks whose close rises or falls by `PRICE_FACTOR` or more, and stays there.

    Both the change from one day to the next and the change between the geometric means over
    `PRICE_DAYS` days before and after must reach the factor.
    """
    return _jumps(market, "close", PRICE_DAYS, PRICE_FACTOR, at_once=PRICE_FACTOR)


def frozen_closes(market: Market) -> list[str]:
    """Find stocks with the same close on `FROZEN` or more consecutive days with volume."""
    return _frozen(market, ("close",), FROZEN)


def frozen_prices(market: Market) -> list[str]:
    """Find stocks with the same open, high, low and close on `FROZEN_PRICES` or more days."""
    return _frozen(market, ("open", "high", "low", "close"), FROZEN_PRICES)


def _jumps(market: Market, name: str, days: int, factor: float, *, at_once: float) -> list[str]:
    found = []
    for stocks in _blocks(market):
        level = pd.DataFrame(market.field(name)[:, stocks].double().log().numpy())
        after, before = _means(level[::-1], days)[::-1], _means(level, days).shift()
        jump, move = (
            torch.from_numpy(x.to_numpy(copy=True)) for x in (after - before, level.diff())
        )
        move = move * jump.sign()  # NaN on the first day after a suspension
        here = (jump.abs() >= math.log(factor)) & (move >= math.log(at_once))
        here &= market.members[:, stocks]
        day = move.where(here, -torch.inf).argmax(dim=0)  # the day with the largest move
        found += [
            f"{market.symbols[stocks.start + stock]} {market.dates[int(day[stock])]:%Y-%m-%d} "
            f"x {jump[day[stock], stock].exp():.3g}"
            for stock in here.any(dim=0).nonzero().squeeze(1).tolist()
        ]
    return found


def _means(level: pd.DataFrame, days: int) -> pd.DataFrame:
    """Return the means over the last days, [D, S]; NaN if less than a third of them is known."""
    return level.rolling(days, min_periods=math.ceil(days / 3)).mean()


def _frozen(market: Market, names: tuple[str, ...], shortest: int) -> list[str]:
    found = []
    row = torch.arange(len(market.dates)).unsqueeze(1)
    for stocks in _blocks(market):
        same = market.present[:, stocks].clone()
        same[0] = False
        for name in names:
            values = market.field(name)[:, stocks]
            same[1:] &= values[1:] == values[:-1]
        first = row.where(~same, 0).cummax(dim=0)[0]  # the day whose prices are repeated
        count, last = (row - first + 1).max(dim=0)
        found += [
            f"{market.symbols[stocks.start + stock]} {int(count[stock])} days to "
            f"{market.dates[int(last[stock])]:%Y-%m-%d}"
            for stock in (count >= shortest).nonzero().squeeze(1).tolist()
        ]
    return found


def _blocks(market: Market) -> Iterator[slice]:
    """Yield blocks of stocks, each with at most `BLOCK` values."""
    width = max(1, BLOCK // len(market.dates))
    for first in range(0, len(market.symbols), width):
        yield slice(first, first + width)
