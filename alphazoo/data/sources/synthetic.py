"""Synthetic market: random prices with planted structure, so that the best possible IC is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from annotated_types import Ge, Le
from torch import Tensor

from alphazoo.bounds import NonNegativeInt, PositiveInt
from alphazoo.data.clean import Panel, index_symbols
from alphazoo.data.concepts import Concepts, always, from_data
from alphazoo.data.labels import forward_return
from alphazoo.data.market import Market
from alphazoo.errors import InputError, check_choice
from alphazoo.metrics import daily_ic

MEMORY = 3  # days whose returns the planted signals look back on
DELAY = 2  # a signal of day t moves the return from the close of t+1 to that of t+2
REVIEW = 120  # days between two reviews of the universe
INDEX = "MARKET"  # the mean return of all stocks, and the volume of all


@dataclass(frozen=True, eq=False)
class SyntheticMarket(Market):
    """A market that knows what moves it.

    Attributes:
        signals: [D, S] each: what day t says about the return from the close of t+1 to that of t+2,
            in daily volatilities of the stock. ``own`` is short-term reversal, which the stock's
            own window shows; ``sector`` is what the leaders of its sector did, which only a model
            that sees the other stocks can know.
        sectors: [S], the sector of each stock.
    """

    signals: Mapping[str, Tensor] = field(default_factory=dict)
    sectors: Tensor = field(default_factory=lambda: torch.empty(0))

    def oracle_ic(
        self, part: str = "all", first: str | None = None, last: str | None = None
    ) -> float:
        """Mean IC of a forecaster that knows the planted signal: the best that a model can reach.

        0 where nothing is planted.

        Args:
            part: ``"own"``, ``"sector"`` or ``"all"``.
            first: The first day; default is that of the market.
            last: The last day; default is that of the market.

        Raises:
            InputError: There is no such part, an end is no date, or no trading day is between them.
        """
        if part == "all":
            signal = sum(self.signals.values(), torch.zeros(()))
        elif part in self.signals:
            signal = self.signals[part]
        else:
            raise InputError(f"part is 'all' or one of {sorted(self.signals)}, got {part!r}")
        returns = forward_return(self.fields["close"], buy=DELAY - 1, sell=DELAY)
        span = self.rows(first, last)
        days = slice(span.start, span.stop)
        rows, stocks = torch.where(self.present[days])
        table = pd.DataFrame(
            {
                "date": rows.numpy(),
                "score": signal[days][rows, stocks].numpy(),
                "return": returns[days][rows, stocks].numpy(),
            }
        )
        return float(daily_ic(table)["ic"].fillna(0.0).mean())


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
) -> SyntheticMarket:
    """Make a market of random returns with short-term reversal and lead-lag inside sectors.

    A stock's return on day t + 2 is market + sector + its own volatility times
    (noise + reversal * own[t] + lead_lag * sector[t]). ``own`` is minus its return over the last
    three days and ``sector`` the mean noise of its sector's leaders over them, both with mean 0 and
    standard deviation 1; leaders (every fifth stock, of half the volatility) have no ``sector``
    signal. Stocks are listed and delisted, join and leave the universe, and are suspended.

    Args:
        n_days: D, weekdays from ``start``.
        n_stocks: S.
        n_sectors: Sectors of equal size.
        reversal: Strength of ``own``: about the IC of a perfect forecaster of this part.
        lead_lag: Strength of ``sector``, likewise.
        seed: The same seed gives the same market.
        start: The first day.
        indices: ``["MARKET"]`` for an index, the mean of all stocks.
    """
    wanted = index_symbols(indices)
    for symbol in wanted:
        check_choice("index", symbol, [INDEX])
    if n_days < 10 or n_sectors < 1 or n_stocks < 5 * n_sectors:
        raise InputError(
            "a synthetic market needs 10 days and 5 stocks per sector, got "
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
    return SyntheticMarket.from_arrays(
        name=f"synthetic (seed {seed})",
        dates=dates,
        symbols=[f"S{number:05d}" for number in stocks],
        fields=fields,
        members=members,
        benchmark=level,
        indices=dict.fromkeys(wanted, index),
        signals={name: torch.from_numpy(panel) for name, panel in signals.items()},
        sectors=torch.from_numpy(sectors),
    )


@from_data
def planted_sectors(market: Market, train: Sequence[int]) -> Concepts:
    """The sectors of a synthetic market.

    Raises:
        InputError: The market is not a synthetic one.
    """
    if not isinstance(market, SyntheticMarket):
        raise InputError(f"market {market.name!r} has no planted sectors: choose other concepts")
    sectors = market.sectors.numpy()
    names = [f"sector {number}" for number in range(sectors.max() + 1)]
    return always(names, np.arange(len(sectors)), sectors, market)


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
    returns = _normal(random, n_days, len(sectors))  # noise at first, turned day by day
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
    """Four fifths of the stocks; some change at each review, some are listed late or end early."""
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
    """Close from the returns; the other prices scattered around it; volume grows with moves."""
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
    """Take the volume away on some days; a suspension lasts 1 to 10 days."""
    volume = fields["volume"]
    n_days, n_stocks = volume.shape
    count = random.poisson(0.001 * volume.size)
    first, stock = random.integers(0, n_days, count), random.integers(0, n_stocks, count)
    length = random.integers(1, 11, count)
    for offset in range(10):
        lasts = (length > offset) & (first + offset < n_days)
        volume[first[lasts] + offset, stock[lasts]] = 0
