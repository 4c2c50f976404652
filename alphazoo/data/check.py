"""What a source holds, in figures: days, stocks, members, gaps, jumps, missing fields."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from alphazoo.data.labels import Label
from alphazoo.data.losses import stray_losses
from alphazoo.data.market import Market
from alphazoo.data.strays import describe_days, find_stray_days
from alphazoo.errors import shorten

JUMP = 0.5  # a daily move of so much deserves a look: an unadjusted split, a wrong price
GAP = 12  # calendar days without trading: longer than any holiday
RARE = 0.1  # of the stocks and days of the commonest weekday: a weekday with fewer is odd
UNITS = (100.0, 1000.0)  # a volume in lots or in thousands, after one in shares
LEVEL = 20  # traded days before and after a change of level that are compared
FROZEN = 10  # days with volume on which a close does not move


def check_market(market: Market, label: Label | None = None) -> dict[str, str]:
    """Describe a market and what looks odd in it; a line of text per subject.

    Args:
        market: To be described.
        label: Says how many labels are lost to stray days; None: that is left out.
    """
    return dict(_lines(market, label))


def _lines(market: Market, label: Label | None) -> Iterator[tuple[str, str]]:
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
    yield "volume changes its unit", _volume_units(market)
    yield f"closes that stay for {FROZEN} days with volume", _frozen(market)
    yield "days that repeat all closes", _repeated(market)
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


def _volume_units(market: Market) -> str:
    """Stocks whose volume changes by a factor of about 100 or 1000 within a day, and stays there.

    The median of the `LEVEL` traded days before is compared with that of those after, within a
    factor of 1.5, and the day with the day before, within a factor of 10. After a suspension the
    volume of a stock can be anything.
    """
    volume = market.field("volume").double().log10().numpy()
    steps = np.diff(pd.DataFrame(volume).ffill().to_numpy(), axis=0)
    leaps = (np.abs(np.nan_to_num(steps)) > np.log10(UNITS[0]) / 2).any(axis=0)  # [S]
    found = []
    for stock in np.flatnonzero(leaps):
        traded = np.flatnonzero(np.isfinite(volume[:, stock]))
        levels = pd.Series(volume[traded, stock])
        before = levels.rolling(LEVEL).median().shift()
        after = levels[::-1].rolling(LEVEL).median()[::-1]
        change, jump = (after - before).abs(), levels.diff().abs()
        for unit in np.log10(UNITS):
            near = ((change - unit).abs() < np.log10(1.5)) & ((jump - unit).abs() < 1)
            near &= np.diff(traded, prepend=0) == 1
            for place in np.flatnonzero(near)[:1].tolist():
                factor = 10 ** (after - before)[place]
                day = market.dates[int(traded[place])]
                found.append(f"{market.symbols[stock]} {day:%Y-%m-%d} x {factor:.3g}")
    return f"{len(found)} ({shorten(found)})" if found else "none"


def _frozen(market: Market) -> str:
    """Stocks whose close is the same on many traded days in a row."""
    close = market.field("close").numpy()
    traded = np.isfinite(close)
    last = pd.DataFrame(close).ffill().to_numpy()
    same = np.zeros_like(traded)
    same[1:] = traded[1:] & (last[1:] == last[:-1])
    total = np.cumsum(same, axis=0)
    # traded days since the close last moved: repeats so far, less those until then
    since = total - np.maximum.accumulate(np.where(traded & ~same, total, 0), axis=0)
    longest = since.max(axis=0, initial=0)  # [S]
    stocks = np.flatnonzero(longest >= FROZEN)
    found = [
        f"{market.symbols[stock]} {longest[stock] + 1} days to "
        f"{market.dates[int(since[:, stock].argmax())]:%Y-%m-%d}"
        for stock in stocks[np.argsort(-longest[stocks], kind="stable")]
    ]
    return f"{len(found)} ({shorten(found)})" if found else "none"


def _repeated(market: Market) -> str:
    """Days on which every stock closes as on the day before."""
    close, present = market.field("close"), market.present
    both = present[1:] & close[:-1].isfinite()
    moved = (close[1:] != close[:-1]) & both
    days = (both.any(dim=1) & ~moved.any(dim=1)).nonzero().squeeze(1) + 1
    found = shorten(f"{market.dates[day]:%Y-%m-%d}" for day in days.tolist())
    return f"{len(days)} ({found})" if found else "none"


def _known(series: Tensor) -> str:
    return f"{int((series > 0).sum()):,} of {len(series):,} days"
