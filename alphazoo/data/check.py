"""What a source holds, in figures: days, stocks, members, gaps, jumps, missing fields."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from alphazoo.data import breaks
from alphazoo.data.labels import Label
from alphazoo.data.losses import stray_losses
from alphazoo.data.market import Market
from alphazoo.data.strays import describe_days, find_stray_days
from alphazoo.errors import shorten

JUMP = 0.5  # a daily move of so much deserves a look: an unadjusted split, a wrong price
GAP = 12  # calendar days without trading: longer than any holiday
RARE = 0.1  # of the stocks and days of the commonest weekday: a weekday with fewer is odd


def check_market(market: Market, label: Label | None = None) -> dict[str, str]:
    """Describe a market and what looks odd in it; a line of text per subject.

    Args:
        market: To be described.
        label: Says how many labels are lost to stray days; None: that is left out.
    """
    return describe_market(market) | dict(_oddities(market, label))


def describe_market(market: Market) -> dict[str, str]:
    """The first lines of `check_market`: what a market is, without what looks odd in it."""
    return dict(_description(market))


def _description(market: Market) -> Iterator[tuple[str, str]]:
    dates, present, members = market.dates, market.present, market.members
    yield "days", f"{len(dates):,} from {dates[0]:%Y-%m-%d} to {dates[-1]:%Y-%m-%d}"
    yield "stocks", f"{int(members.any(dim=0).sum()):,} that are members on some day"
    counts = present.sum(dim=1)
    yield (
        "members a day",
        f"{int(counts.min())} to {int(counts.max())}, median {int(counts.median())} with a price; "
        f"{_percent(~present[members])} of member days have none (suspended or no data)",
    )
    yield "benchmark", "none" if market.benchmark is None else _known(market.benchmark)


def _oddities(market: Market, label: Label | None) -> Iterator[tuple[str, str]]:
    dates, present, members = market.dates, market.present, market.members
    empty = torch.where(~present.any(dim=1))[0].tolist()
    yield "days without members", shorten(f"{dates[day]:%Y-%m-%d}" for day in empty) or "none"
    yield "days with few members", _strays(market, label)
    yield "odd weekdays", _odd_weekdays(market)
    silent = torch.where(members.any(dim=0) & ~present.any(dim=0))[0].tolist()
    yield "members without any price", shorten(market.symbols[stock] for stock in silent) or "none"
    pauses = [
        f"{before:%Y-%m-%d} to {after:%Y-%m-%d}"
        for before, after in pairwise(dates)
        if (after - before).days > GAP
    ]
    yield f"gaps of more than {GAP} days in the calendar", shorten(pauses) or "none"
    yield f"moves of more than {JUMP:.0%} a day", _jumps(market)
    yield "prices that jump and stay", _count(breaks.price_jumps(market))
    yield "volumes that jump and stay", _count(breaks.volume_jumps(market))
    yield f"the same close for {breaks.FROZEN} days", _count(breaks.frozen_closes(market))
    yield (
        f"all prices the same for {breaks.FROZEN_PRICES} days",
        _count(breaks.frozen_prices(market)),
    )
    yield "days that repeat all closes", _repeated(market)
    for name in ("open", "high", "low", "close", "vwap", "volume"):
        if name not in market.fields:
            yield name, "not in this source"
        else:
            missing = market.fields[name][present].isnan()
            yield name, f"missing on {_percent(missing)} of the days with a close"
    high, low = market.field("high"), market.field("low")
    yield "days with high below low", f"{int((high < low)[present].sum()):,}"
    if not market.indices:
        yield "indices", "none"
    for symbol, series in market.indices.items():
        known = ", ".join(f"{name} on {_known(values)}" for name, values in series.items())
        yield f"index {symbol}", known


def _percent(flags: Tensor) -> str:
    return f"{flags.float().mean().nan_to_num():.2%}"


def _jumps(market: Market) -> str:
    close = market.field("close")
    moves = close[1:] / close[:-1] - 1
    days, stocks = torch.where((moves.abs() > JUMP) & market.present[1:])
    jumps = [
        f"{market.symbols[stock]} {market.dates[day + 1]:%Y-%m-%d} {moves[day, stock]:+.0%}"
        for day, stock in zip(days.tolist(), stocks.tolist(), strict=True)
    ]
    return f"{len(jumps)} ({shorten(jumps)})" if jumps else "none"


def _strays(market: Market, label: Label | None) -> str:
    rows = find_stray_days(market.present)
    if not len(rows):
        return "none"
    found = describe_days(rows, market.dates, market.present)
    return found if label is None else f"{found}, {stray_losses(market, label):,} labels lost"


def _odd_weekdays(market: Market) -> str:
    """Days of the week on which hardly anything trades, although some days of the market are."""
    counts = pd.Series(market.present.sum(dim=1).numpy(), index=market.dates)
    weekdays = counts.groupby(market.dates.day_name()).sum()
    odd = weekdays[weekdays < RARE * weekdays.max()].index
    found = []
    for name in odd:
        days = counts[market.dates.day_name() == name]
        found.append(
            f"{len(days)} {name}s from {days.index[0]:%Y-%m-%d} with at most {days.max()} members"
        )
    return shorten(found) or "none"


def _repeated(market: Market) -> str:
    """Days, none of them stray, on which every stock closes as on the day before."""
    close, present = market.field("close"), market.present
    both = present[1:] & close[:-1].isfinite()
    moved = (close[1:] != close[:-1]) & both
    repeats = both.any(dim=1) & ~moved.any(dim=1)
    days = np.setdiff1d(repeats.nonzero().squeeze(1).numpy() + 1, find_stray_days(present))
    return _count(f"{market.dates[day]:%Y-%m-%d}" for day in days.tolist())


def _count(cases: Iterable[str]) -> str:
    """How many there are, and the first of them."""
    found = [*cases]
    return f"{len(found)} ({shorten(found)})" if found else "none"


def _known(series: Tensor) -> str:
    return f"{int((series > 0).sum()):,} of {len(series):,} days"
