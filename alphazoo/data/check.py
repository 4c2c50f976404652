"""What a source holds, in figures: days, stocks, members, gaps, jumps, missing fields."""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from alphazoo.data.market import Market
from alphazoo.errors import shorten

JUMP = 0.5  # a daily move of so much deserves a look: an unadjusted split, a wrong price
GAP = 12  # calendar days without trading: longer than any holiday


def check_market(market: Market) -> dict[str, str]:
    """Describe a market and what looks odd in it; a line of text per subject."""
    return dict(_lines(market))


def _lines(market: Market) -> Iterator[tuple[str, str]]:
    dates, present, members = market.dates, market.present, market.members
    yield "days", f"{len(dates):,} from {dates[0]:%Y-%m-%d} to {dates[-1]:%Y-%m-%d}"
    yield "stocks", f"{int(members.any(dim=0).sum()):,} that are members on some day"
    counts = present.sum(dim=1)
    yield (
        "members a day",
        f"{int(counts.min())} to {int(counts.max())}, median {int(counts.median())} with a price; "
        f"{_percent(~present[members])} of member days have none (suspended or no data)",
    )
    empty = torch.where(counts == 0)[0].tolist()
    yield "days without members", shorten(f"{dates[day]:%Y-%m-%d}" for day in empty) or "none"
    silent = torch.where(members.any(dim=0) & ~present.any(dim=0))[0].tolist()
    yield "members without any price", shorten(market.symbols[stock] for stock in silent) or "none"
    pauses = [
        f"{before:%Y-%m-%d} to {after:%Y-%m-%d}"
        for before, after in pairwise(dates)
        if (after - before).days > GAP
    ]
    yield f"gaps of more than {GAP} days in the calendar", shorten(pauses) or "none"
    yield f"moves of more than {JUMP:.0%} a day", _jumps(market)
    for name in ("open", "high", "low", "close", "vwap", "volume"):
        if name not in market.fields:
            yield name, "not in this source"
        else:
            missing = market.fields[name][present].isnan()
            yield name, f"missing on {_percent(missing)} of the days with a close"
    high, low = market.field("high"), market.field("low")
    yield "days with high below low", f"{int((high < low)[present].sum()):,}"
    yield "benchmark", "none" if market.benchmark is None else _known(market.benchmark)
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


def _known(series: Tensor) -> str:
    return f"{int((series > 0).sum()):,} of {len(series):,} days"
