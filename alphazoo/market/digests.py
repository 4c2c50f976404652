"""Digests of a market by month, and of concepts.

The digest of a month covers the stocks that have been universe members by its end, so it does not
depend on later months. Stocks that are never members are ignored, because nothing is computed from
them.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alphazoo.market.concepts import Concepts
from alphazoo.market.market import Market

Parts = dict[str, bytes]  # digests by name of the part, such as "close" or "calendar"


def concepts_digest(concepts: Concepts, market: Market, row: int | None = None) -> str:
    """Return a digest of the memberships of stocks in concepts.

    Args:
        concepts: Concepts of the market.
        market: Gives the symbols.
        row: The last row of the calendar to include; None includes all rows.
    """
    row = len(market.dates) - 1 if row is None else row
    used = (concepts.first <= row) & (_first_rows(market)[concepts.stocks] <= row)
    stocks, names = concepts.stocks[used].numpy(), concepts.concepts[used].numpy()
    first, last = concepts.first[used].numpy(), concepts.last[used].clamp(max=row).numpy()
    used_stocks, stocks = np.unique(stocks, return_inverse=True)
    used_names, names = np.unique(names, return_inverse=True)
    labels = {
        "stocks": [market.symbols[stock] for stock in used_stocks],
        "names": [concepts.names[name] for name in used_names],
    }
    order = np.lexsort((first, names, stocks))
    columns = [part[order].astype(np.int64).tobytes() for part in (stocks, names, first, last)]
    weights = concepts.weights[used].numpy()[order].tobytes()
    return hash_contents(json.dumps(labels).encode(), *columns, weights).hex()


_MONTHS: WeakKeyDictionary[Market, dict[str, Parts]] = WeakKeyDictionary()
_FIRST_ROWS: WeakKeyDictionary[Market, Tensor] = WeakKeyDictionary()
_STARTS: WeakKeyDictionary[Market, dict[str, int]] = WeakKeyDictionary()


def hash_months(market: Market, n_days: int | None = None) -> dict[str, Parts]:
    """Return the digests of each month's parts, for the first ``n_days`` days or all days."""
    starts = _month_starts(market)
    if market not in _MONTHS:
        stops = [*[*starts.values()][1:], len(market.dates)]
        _MONTHS[market] = {
            month: _hash_month(market, start, stop)
            for (month, start), stop in zip(starts.items(), stops, strict=True)
        }
    if n_days is None:
        return _MONTHS[market]
    whole = {month: _MONTHS[market][month] for month, start in starts.items() if start < n_days}
    last = [*whole][-1]
    return {**whole, last: _hash_month(market, starts[last], n_days)}


def _month_starts(market: Market) -> dict[str, int]:
    """Return the first row of each month."""
    if market not in _STARTS:
        starts: dict[str, int] = {}
        for row, month in enumerate(market.dates.strftime("%Y-%m")):
            starts.setdefault(month, row)
        _STARTS[market] = starts
    return _STARTS[market]


def _first_rows(market: Market) -> Tensor:
    """Return the first row on which each stock is a member, [S]; D if it never is."""
    if market not in _FIRST_ROWS:
        members = market.members
        first = members.to(torch.uint8).argmax(dim=0)
        _FIRST_ROWS[market] = first.where(members.any(dim=0), len(members))
    return _FIRST_ROWS[market]


def _hash_month(market: Market, start: int, stop: int) -> Parts:
    """Return digests of some rows, and of the full history of stocks that become members there."""
    first = _first_rows(market)
    old = (first < start).nonzero().squeeze(1)
    new = ((first >= start) & (first < stop)).nonzero().squeeze(1)

    def panel(values: Tensor) -> bytes:
        rows, history = values[start:stop].index_select(1, old), values[:stop].index_select(1, new)
        return hash_contents(_plain(rows), _plain(history))

    def series(values: Tensor) -> bytes:
        return hash_contents(_plain(values[start:stop]))

    names = [market.symbols[int(stock)] for stock in new]
    days = [*market.dates[start:stop].strftime("%Y-%m-%d")]
    parts = {
        "calendar": hash_contents(json.dumps(days).encode()),
        "symbols": hash_contents(json.dumps(names).encode()),
        "members": panel(market.members),
        **{name: panel(market.fields[name]) for name in sorted(market.fields)},
    }
    if market.benchmark is not None:
        parts["benchmark"] = series(market.benchmark)
    if market.factor is not None:
        parts["factor"] = panel(market.factor)
    for symbol in sorted(market.indices):
        for name in sorted(market.indices[symbol]):
            parts[f"{name} of {symbol}"] = series(market.indices[symbol][name])
    return parts


def _plain(values: Tensor) -> npt.NDArray[Any]:
    """Return values in which all NaN have the same bits."""
    found = values.contiguous().numpy()
    return (
        np.where(np.isnan(found), np.float32(np.nan), found) if found.dtype.kind == "f" else found
    )


def hash_contents(*contents: bytes | npt.NDArray[Any]) -> bytes:
    """Return a digest of 8 bytes."""
    digest = hashlib.blake2b(digest_size=8)
    for content in contents:
        digest.update(content if isinstance(content, bytes) else np.ascontiguousarray(content).data)
    return digest.digest()


def join_months(months: Iterable[Parts]) -> Parts:
    """Return the digest of each part over all months."""
    found: dict[str, list[bytes]] = {}
    for parts in months:
        for name, digest in parts.items():
            found.setdefault(name, []).append(digest)
    return {name: hash_contents(b"".join(digests)) for name, digests in found.items()}


def shorten_parts(parts: Parts) -> str:
    """Return a short digest over the parts of a month."""
    return hash_contents(*parts.values()).hex()[:8]
