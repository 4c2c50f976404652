"""Makes a synthetic market: random prices with planted signals, whose best possible IC is known."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from annotated_types import Ge, Le

from alphazoo.bounds import NonNegativeInt, PositiveInt
from alphazoo.errors import InputError, check_choice
from alphazoo.market.clean import Arrays, Panel, index_symbols
from alphazoo.market.planted import DELAY, Planted

MEMORY = 3  # number of days whose returns the planted signals use
REVIEW = 120  # days between two reviews of the universe
INDEX = "MARKET"  # the mean return of all stocks, and the volume of all


def make_market(
    *,
    n_days: Annotated[int, Ge(10), Le(50_000)],  # to about 2206; those of pandas end in 2262
    n_stocks: PositiveInt,
    n_sectors: PositiveInt,
    reversal: float,
    lead_lag: float,
    seed: NonNegativeInt,
    start: str = "2015-01-01",
    indices: Sequence[str] = (),
) -> Arrays:
    """Make a market of random returns with short-term reversal and lead-lag inside sectors.

    A stock's return on day t + 2 is market + sector + its own volatility times
    (noise + reversal * own[t] + lead_lag * sector[t]). ``own`` is minus its return over the last
    three days, and ``sector`` is the mean noise of its sector's leaders over these days. Both have
    mean 0 and standard deviation 1. Leaders (every fifth stock of a sector, with half the
    volatility) have no ``sector`` signal. Stocks are listed and delisted, join and leave the
    universe, and are suspended.

    Args:
        n_days: D, number of weekdays from ``start`` on.
        n_stocks: S, number of stocks.
        n_sectors: Number of sectors, which have equal size.
        reversal: Strength of ``own``: about the IC of a perfect forecaster of this part.
        lead_lag: Strength of ``sector``, likewise.
        seed: Seed of the random numbers.
        start: The first day.
        indices: ``["MARKET"]`` for an index that is the mean of all stocks; empty for none.

    Raises:
        InputError: There are too few days or stocks, or an index is unknown.
    """
    wanted = index_symbols(indices)
    for symbol in wanted:
        check_choice("index", symbol, [INDEX])
    if n_days < 10 or n_sectors < 1 or n_stocks < 5 * n_sectors:
        raise InputError(
            "a synthetic market needs at least 10 days and 5 stocks per sector, got "
            f"n_days={n_days}, n_stocks={n_stocks}, n_sectors={n_sectors}"
        )
    random = np.random.default_rng(seed)
    dates = pd.bdate_range(start, periods=n_days).as_unit("ns")
    stocks = np.arange(n_stocks)
    sectors = stocks % n_sectors
    leaders = stocks // n_sectors % 5 == 0
    volatility = 0.02 * np.exp(0.2 * _normal(random, n_stocks))
    volatility[leaders] *= 0.5
    returns, signals = _returns(random, n_days, sectors, leaders, volatility, reversal, lead_lag)
    members = _members(random, n_days, n_stocks)
    fields = _prices(random, returns)
    _suspend(random, fields)
    level = (1000 * np.cumprod(1 + returns.mean(axis=1), dtype=np.float64)).astype(np.float32)
    index = {"close": level, "volume": fields["volume"].sum(axis=1)}
    return Arrays(
        name=f"synthetic (seed {seed})",
        dates=dates,
        symbols=[f"S{number:05d}" for number in stocks],
        fields=fields,
        members=members,
        benchmark=level,
        indices=dict.fromkeys(wanted, index),
        planted=Planted(
            {name: torch.from_numpy(panel) for name, panel in signals.items()},
            torch.from_numpy(sectors),
        ),
    )


def _normal(random: np.random.Generator, *shape: int) -> npt.NDArray[np.float32]:
    return random.standard_normal(shape, dtype=np.float32)


def _returns(
    random: np.random.Generator,
    n_days: int,
    sectors: npt.NDArray[np.int64],
    leaders: npt.NDArray[np.bool_],
    volatility: npt.NDArray[np.float32],
    reversal: float,
    lead_lag: float,
) -> tuple[Panel, dict[str, Panel]]:
    """Return the daily returns [D, S] and the planted signals [D, S]."""
    returns = _normal(random, n_days, len(sectors))  # noise, replaced by returns day by day
    market = 0.01 * _normal(random, n_days)
    sector = 0.005 * _normal(random, n_days, sectors.max() + 1)
    own, lead = np.zeros_like(returns), np.zeros_like(returns)
    n_leaders = np.bincount(sectors[leaders])
    led = np.zeros_like(sector)  # [D, sectors], the leaders' mean noise in standard deviations
    for day in range(n_days):
        shock = np.bincount(sectors[leaders], weights=returns[day, leaders])
        led[day] = shock / np.sqrt(n_leaders)
        if day >= DELAY:
            planted = reversal * own[day - DELAY] + lead_lag * lead[day - DELAY]
            returns[day] += planted
        returns[day] = market[day] + sector[day, sectors] + volatility * returns[day]
        np.clip(returns[day], -0.3, 0.3, out=returns[day])
        recent = slice(max(0, day - MEMORY + 1), day + 1)
        own[day] = -_standardise(returns[recent].sum(axis=0))
        lead[day] = np.where(leaders, 0, led[recent].sum(axis=0)[sectors] / np.sqrt(MEMORY))
    own *= reversal
    lead *= lead_lag
    return returns, {"own": own, "sector": lead}


def _standardise(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    standard: npt.NDArray[np.float32] = (x - x.mean()) / x.std()
    return standard


def _members(random: np.random.Generator, n_days: int, n_stocks: int) -> npt.NDArray[np.bool_]:
    """Return the universe members, [D, S] bool: about four fifths of the stocks.

    Some stocks join or leave at each review, and some are listed late or delisted early.
    """
    n_reviews = -(-n_days // REVIEW)
    changes = random.random((n_reviews, n_stocks)) < 0.05
    changes[0] = random.random(n_stocks) < 0.8
    reviewed = np.logical_xor.accumulate(changes, axis=0)
    members = np.repeat(reviewed, REVIEW, axis=0)[:n_days]
    day = np.arange(n_days)[:, None]
    listed = np.where(random.random(n_stocks) < 0.1, random.integers(0, n_days, n_stocks), 0)
    ends = np.where(random.random(n_stocks) < 0.1, random.integers(0, n_days, n_stocks), n_days)
    members &= (day >= np.minimum(listed, ends)) & (day < np.maximum(listed, ends))
    return members


def _prices(random: np.random.Generator, returns: Panel) -> dict[str, Panel]:
    """Return prices and volume; prices scatter around the close, and volume grows with returns."""
    close = 100 * np.cumprod(1 + returns, axis=0)
    before = np.concatenate([np.full_like(close[:1], 100), close[:-1]])
    open_ = before * (1 + 0.005 * np.clip(_normal(random, *close.shape), -3, 3))
    spread = 0.005 * np.abs(_normal(random, *close.shape))
    high = np.maximum(open_, close) * (1 + spread)
    low = np.minimum(open_, close) / (1 + spread)
    volume = np.exp(13 + 0.4 * _normal(random, *close.shape) + 10 * np.abs(returns))
    return {
        "open": open_,
        "high": high,
        "low": low,
        "close": close,
        "vwap": (high + low + close) / 3,
        "volume": volume,
    }


def _suspend(random: np.random.Generator, fields: Mapping[str, Panel]) -> None:
    """Suspend random stocks for 1 to 10 days, by setting their volume to 0."""
    volume = fields["volume"]
    n_days, n_stocks = volume.shape
    count = random.poisson(0.001 * volume.size)
    first, stock = random.integers(0, n_days, count), random.integers(0, n_stocks, count)
    length = random.integers(1, 11, count)
    for offset in range(10):
        lasts = (length > offset) & (first + offset < n_days)
        volume[first[lasts] + offset, stock[lasts]] = 0
