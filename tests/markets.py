"""What happens in the small markets besides random moves: the same in every source.

130 weekdays from 2015-01-01 on, rows 0 to 129, of the stocks ST0 to ST9. ``SMALL`` of conftest cuts
them into train (rows 22 to 74), validation (75 to 96) and test days (97 to 129). In each of these
segments a stock enters the universe, one leaves it, stocks are suspended, closes move by the limit
of 10 %, and a stock changes its concept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from alphazoo.market.concept_table import read_concepts
from alphazoo.market.concepts import Concepts
from alphazoo.market.market import Market

N_DAYS, N_STOCKS = 130, 10
INDEX, OUTSIDER = 7, 6  # neither is ever a member

Spans = Mapping[int, Sequence[tuple[int, int]]]  # by number of the stock: first and last row

MEMBERS: Spans = {
    **{stock: [(0, 129)] for stock in (0, 1, 5, 8)},
    2: [(35, 104)],  # enters in train, leaves in test
    3: [(0, 49), (85, 129)],  # leaves in train, enters in validation
    4: [(0, 87), (115, 129)],  # leaves in validation, enters in test
    9: [(30, 129)],
}
ABSENT: Spans = {  # no rows: suspended, not listed yet, delisted
    1: [(40, 43), (81, 82), (110, 112)],
    8: [(121, 129)],
    9: [(0, 29)],
}
SILENT: Spans = {  # rows without volume
    0: [(46, 46), (103, 103)],
    5: [(30, 30), (60, 60), (90, 90), (100, 101)],
}
# row and stock: the close by that of the row before
LIMITS = {(50, 0): 1.1, (79, 5): 0.9, (99, 1): 1.1, (106, 3): 0.9}
SPLIT = 60  # raw prices of every second stock halve on this row
CONCEPTS = {0: 45, 3: 86, 4: 116, 5: 100}  # row from which a stock has the other concept


def mask(spans: Spans, n_days: int = N_DAYS, n_stocks: int = N_STOCKS) -> np.ndarray:
    """[D, S] bool."""
    found = np.zeros((n_days, n_stocks), dtype=bool)
    for stock, pairs in spans.items():
        for first, last in pairs:
            found[first : last + 1, stock] = True
    return found


def market_frame(seed: int = 0) -> pd.DataFrame:
    """A long table with raw prices, ``adjusted_close``, ``vwap``, ``earnings`` and ``member``."""
    random = np.random.default_rng(seed)
    shape = (N_DAYS, N_STOCKS)
    moves = np.exp(0.02 * random.standard_normal(shape))
    for (row, stock), move in LIMITS.items():
        moves[row, stock] = move
    close = 50 * np.cumprod(moves, axis=0)
    low, high = close * (1 - 0.02 * random.random(shape)), close * (1 + 0.02 * random.random(shape))
    volume = random.integers(1000, 9000, shape).astype(float)
    volume[mask(SILENT)] = 0
    factor = np.full(shape, 0.5)
    factor[SPLIT:, ::2] = 1
    adjusted = {
        "open": low + (high - low) * random.random(shape),
        "high": high,
        "low": low,
        "close": close,
        "vwap": (low + high + close) / 3,
    }
    panels = {
        "date": np.repeat(pd.bdate_range("2015-01-01", periods=N_DAYS), N_STOCKS),
        "symbol": np.tile([f"ST{number}" for number in range(N_STOCKS)], N_DAYS),
        **{name: (panel / factor).ravel() for name, panel in adjusted.items()},
        "volume": (volume * factor).ravel(),
        "adjusted_close": close.ravel(),
        "earnings": (random.random((N_DAYS // 10, N_STOCKS)) - 0.3).repeat(10, axis=0).ravel(),
        "member": mask(MEMBERS).ravel(),
    }
    return pd.DataFrame(panels)[~mask(ABSENT).ravel()].reset_index(drop=True)


def adjust(frame: pd.DataFrame) -> pd.DataFrame:
    """The same table as the files of Qlib hold it: adjusted, with the ``factor``."""
    factor = frame["adjusted_close"] / frame["close"]
    prices = {name: frame[name] * factor for name in ("open", "high", "low", "close", "vwap")}
    return frame.assign(**prices, volume=frame["volume"] / factor, factor=factor)


def with_events(market: Market) -> Market:
    """A synthetic market in which the first stocks have the memberships, suspensions and limits."""
    n_days, n_stocks = market.members.shape
    members = market.members.numpy().copy()
    members[:, :N_STOCKS] = mask(MEMBERS)
    closed = torch.from_numpy(mask(ABSENT, n_days, n_stocks) | mask(SILENT, n_days, n_stocks))
    fields = {name: panel.clone() for name, panel in market.fields.items()}
    for (row, stock), move in LIMITS.items():
        scale = move * fields["close"][row - 1, stock] / fields["close"][row, stock]
        for name in ("open", "high", "low", "close", "vwap"):
            fields[name][row:, stock] *= scale
    fields["earnings"] = fields["close"] / fields["open"] - 1
    for panel in fields.values():
        panel[closed] = torch.nan
    return replace(market, fields=fields, members=torch.from_numpy(members))


def concept_table(market: Market) -> pd.DataFrame:
    """The concepts A and B of every second stock, some of which change; ST1 has none."""
    rows = []
    for number, symbol in enumerate(market.symbols):
        ours, other = "AB"[number % 2], "BA"[number % 2]
        change = CONCEPTS.get(number)
        if change is not None:
            first, last = market.dates[change], market.dates[change - 1]
            rows += [(symbol, ours, None, last), (symbol, other, first, None)]
        elif number != 1:
            rows.append((symbol, ours, None, None))
    return pd.DataFrame(rows, columns=["symbol", "concept", "from", "to"])


def changing_concepts(market: Market, train: Sequence[int]) -> Concepts:
    """Those of `concept_table`."""
    return read_concepts(market, train, table=concept_table(market))


def change_after(market: Market, day: int) -> Market:
    """The same market with every price, volume and membership after a day replaced."""

    def change(panels: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        changed = {name: panel.clone() for name, panel in panels.items()}
        for panel in changed.values():
            panel[day + 1 :] = 1 + 9 * torch.rand(panel[day + 1 :].shape)
        return {name: panel.numpy() for name, panel in changed.items()}

    members = market.members.clone()
    members[day + 1 :] = torch.rand(members[day + 1 :].shape) < 0.7
    return Market.from_arrays(
        name="changed",
        dates=market.dates,
        symbols=market.symbols,
        fields=change(market.fields),
        members=members.numpy(),
        indices={symbol: change(series) for symbol, series in market.indices.items()},
    )


def random_market(n_days: int = 130, vwap: bool = True) -> Market:
    """A market of 20 stocks with random prices."""
    return Market.from_arrays(**random_arrays(n_days, vwap))


def random_arrays(n_days: int, vwap: bool = True) -> dict[str, Any]:
    """Arguments of `Market.from_arrays` for it."""
    market = Market.from_synthetic(
        n_days=n_days, n_stocks=20, n_sectors=2, reversal=0.0, lead_lag=0.0, seed=0
    )
    fields = {name: panel.numpy().copy() for name, panel in market.fields.items()}
    if not vwap:
        del fields["vwap"]
    return {
        "name": "random",
        "dates": market.dates,
        "symbols": market.symbols,
        "fields": fields,
        "members": market.members.numpy(),
    }
