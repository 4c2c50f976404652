"""Describes the data of a source: days, stocks, members, gaps, jumps and missing fields."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from alphazoo.errors import shorten
from alphazoo.market import breaks
from alphazoo.market.market import Market
from alphazoo.market.returns import Holding
from alphazoo.market.strays import describe_days, find_stray_days, lost_labels

JUMP = 0.5  # a larger daily move is suspicious: an unadjusted split or a wrong price
GAP = 12  # calendar days without trading; no holiday is longer
RARE = 0.1  # a weekday is odd if it has less than this share of the commonest weekday's prices


def check_market(market: Market, label: Holding | None = None) -> dict[str, str]:
    """Describe a market and its anomalies, as one line of text per subject.

    Args:
        market: The market.
        label: Used to count the labels lost to stray days; None omits this count.
    """
    return describe_market(market) | dict(_anomalies(market, label))


def describe_market(market: Market) -> dict[str, str]:
    """Return the first lines of `check_market`, which describe the market but no anomalies."""
    return dict(_description(market))


def stray_losses(market: Market, label: Holding, rows: Iterable[int] | None = None) -> int:
    """Count the labels of a market that are lost to stray days; see `lost_labels`."""
    priced = market.field("close").isfinite()
    return lost_labels(market.present, priced, buy=label.buy, sell=label.sell, rows=rows)


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


def _anomalies(market: Market, label: Holding | None) -> Iterator[tuple[str, str]]:
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


def _strays(market: Market, label: Holding | None) -> str:
    rows = find_stray_days(market.present)
    if not len(rows):
        return "none"
    found = describe_days(rows, market.dates, market.present)
    return found if label is None else f"{found}, {stray_losses(market, label):,} labels lost"


def _odd_weekdays(market: Market) -> str:
    """Describe the weekdays in the calendar on which hardly any stock trades."""
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
    """Describe the days on which every stock repeats its last close, except stray days."""
    close, present = market.field("close"), market.present
    both = present[1:] & close[:-1].isfinite()
    moved = (close[1:] != close[:-1]) & both
    repeats = both.any(dim=1) & ~moved.any(dim=1)
    days = np.setdiff1d(repeats.nonzero().squeeze(1).numpy() + 1, find_stray_days(present))
    return _count(f"{market.dates[day]:%Y-%m-%d}" for day in days.tolist())


def _count(cases: Iterable[str]) -> str:
    """Return the number of cases and the first few of them."""
    found = [*cases]
    return f"{len(found)} ({shorten(found)})" if found else "none"


def _known(series: Tensor) -> str:
    return f"{int((series > 0).sum()):,} of {len(series):,} days"
