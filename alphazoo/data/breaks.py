"""Breaks: prices and volumes whose level jumps and stays, and prices that are frozen.

Each function lists stocks with their worst case. Such a case deserves a look: an unadjusted split,
a volume that turns from shares to lots, a source that repeats the last price it knows. After a
suspension a stock can trade at any volume, so the days compared are trading days in a row.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from alphazoo.data.market import Market
from alphazoo.data.rolling import Sums, lagged

VOLUME_DAYS, VOLUME_FACTOR = 60, 50.0  # lots are 100 or 1,000 shares; of the CSI300 at most 28
PRICE_DAYS, PRICE_FACTOR = 10, 1.8  # a split is 2 or more; of the CSI300 at most 1.3
FROZEN = 10  # days with the same close; of the CSI300 at most 6
FROZEN_PRICES = 5  # days with the same open, high, low and close; of the CSI300 at most 4

BLOCK = 2**20  # values compared at a time: bounds the memory


def volume_jumps(market: Market) -> list[str]:
    """Stocks whose volume jumps by `VOLUME_FACTOR` or more, up or down, and stays there.

    Compared are the geometric means of `VOLUME_DAYS` days before and after, on a third of which at
    least the stock trades.
    """
    return _jumps(market, "volume", VOLUME_DAYS, VOLUME_FACTOR, at_once=1.0)


def price_jumps(market: Market) -> list[str]:
    """Stocks whose close jumps by `PRICE_FACTOR` or more, up or down, and stays there.

    It does so from one day to the next, and between the geometric means of `PRICE_DAYS` days before
    and after.
    """
    return _jumps(market, "close", PRICE_DAYS, PRICE_FACTOR, at_once=PRICE_FACTOR)


def frozen_closes(market: Market) -> list[str]:
    """Stocks with the same close on `FROZEN` days in a row or more, though there is volume."""
    return _frozen(market, ("close",), FROZEN)


def frozen_prices(market: Market) -> list[str]:
    """Stocks with the same open, high, low and close on `FROZEN_PRICES` days in a row or more."""
    return _frozen(market, ("open", "high", "low", "close"), FROZEN_PRICES)


def _jumps(market: Market, name: str, days: int, factor: float, *, at_once: float) -> list[str]:
    found = []
    for stocks in _blocks(market):
        level = market.field(name)[:, stocks].double().log()
        jump = _means(level.flip(0), days).flip(0) - lagged(_means(level, days), 1)
        move = (level - lagged(level, 1)) * jump.sign()  # NaN on the first day after a suspension
        here = (jump.abs() >= math.log(factor)) & (move >= math.log(at_once))
        here &= market.members[:, stocks]
        day = move.where(here, -torch.inf).argmax(dim=0)  # of its candidates the largest move
        found += [
            f"{market.symbols[stocks.start + stock]} {market.dates[int(day[stock])]:%Y-%m-%d} "
            f"x {jump[day[stock], stock].exp():.3g}"
            for stock in here.any(dim=0).nonzero().squeeze(1).tolist()
        ]
    return found


def _means(level: Tensor, days: int) -> Tensor:
    """[D, S], of the last days; NaN where less than a third of them is known."""
    sums = Sums(level, days)
    return sums.mean(days).where(3 * sums.over(days)[0] >= days, torch.nan)


def _frozen(market: Market, names: tuple[str, ...], shortest: int) -> list[str]:
    found = []
    row = torch.arange(len(market.dates)).unsqueeze(1)
    for stocks in _blocks(market):
        same = market.present[:, stocks].clone()
        same[0] = False
        for name in names:
            values = market.field(name)[:, stocks]
            same[1:] &= values[1:] == values[:-1]
        first = row.where(~same, 0).cummax(dim=0).values  # the day whose prices are repeated
        count, last = (row - first + 1).max(dim=0)
        found += [
            f"{market.symbols[stocks.start + stock]} {int(count[stock])} days to "
            f"{market.dates[int(last[stock])]:%Y-%m-%d}"
            for stock in (count >= shortest).nonzero().squeeze(1).tolist()
        ]
    return found


def _blocks(market: Market) -> Iterator[slice]:
    """Stocks that are compared at a time."""
    width = max(1, BLOCK // len(market.dates))
    for first in range(0, len(market.symbols), width):
        yield slice(first, first + width)
