"""Fingerprints of data, which tell whether data have grown or changed since an earlier run.

A market is hashed month by month. The digest of a month covers the stocks that have been universe
members by its end, so it does not depend on later months. To compare data with an earlier record,
the data are truncated at the last day of the record. Stocks that are never members are ignored,
because nothing is computed from them.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from alphazoo.errors import shorten
from alphazoo.market.concepts import Concepts
from alphazoo.market.market import Market

Record = dict[str, Any]  # plain values, for JSON and checkpoints
Parts = dict[str, bytes]  # digests by name of the part, such as "close" or "calendar"

SAME, GROWN, CHANGED, UNKNOWN = "same", "grown", "changed", "unknown"
AXES = ("calendar", "symbols")  # if one of them differs, so does every panel


@dataclass(frozen=True)
class Difference:
    """How data differ from those of an earlier record.

    Attributes:
        kind: ``"same"``; ``"grown"``: the same up to the last day of the record, with more days
            after it; ``"changed"``; or ``"unknown"``: the record has no digests.
        what: Describes what differs.
        last: The last day of the record, YYYY-MM-DD; empty if unknown.
    """

    kind: str
    what: str = ""
    last: str = ""


class Fingerprint:
    """Digests of a market and its concepts.

    Args:
        market: The market; its hashes are cached and shared by all of its fingerprints.
        concepts: Concepts that were read as data, such as from a table; None if there are none or
            they are computed from the market.
    """

    def __init__(self, market: Market, concepts: Concepts | None = None) -> None:
        self.market = market
        self.concepts = concepts if concepts and concepts.names else None

    @cached_property
    def record(self) -> Record:
        """The record that a later run compares its data with.

        Its keys are ``market``, ``fingerprint`` (of all parts of the market), ``days``, ``stocks``,
        ``first`` and ``last`` (days), ``parts`` (digests of each field, and of calendar, symbols,
        members, benchmark, factor, indices and concepts) and ``months`` (a digest of each month).
        """
        market = self.market
        months = _hash_months(market)
        parts = _join(months.values())
        whole = _digest(json.dumps(sorted((k, v.hex()) for k, v in parts.items())).encode())
        return {
            "market": market.name,
            "fingerprint": whole.hex(),
            "days": len(market.dates),
            "stocks": len(market.symbols),
            "first": f"{market.dates[0]:%Y-%m-%d}",
            "last": f"{market.dates[-1]:%Y-%m-%d}",
            "parts": self._name(parts, len(market.dates) - 1),
            "months": {month: _fold(found) for month, found in months.items()},
        }

    def compare(self, record: Mapping[str, Any]) -> Difference:
        """Compare the data with those of an earlier record."""
        if "parts" not in record:
            return Difference(UNKNOWN)
        market, last = self.market, str(record["last"])
        n_days = int(market.dates.searchsorted(pd.Timestamp(last), "right"))
        if not n_days or market.dates[-1] < pd.Timestamp(last):
            now = f"{market.dates[0]:%Y-%m-%d} to {market.dates[-1]:%Y-%m-%d}"
            then = f"{record['first']} to {last}"
            return Difference(CHANGED, f"the data covered {then}, now they cover {now}", last)
        months = _hash_months(market, n_days)
        parts = self._name(_join(months.values()), n_days - 1)
        known = {name: digest for name, digest in record["parts"].items() if self._counts(name)}
        if parts == known:
            return Difference(SAME if n_days == len(market.dates) else GROWN, "", last)
        folded = {month: _fold(found) for month, found in months.items()}
        since = [
            month for month in record["months"] if folded.get(month) != record["months"][month]
        ]
        since = since or [month for month in folded if month not in record["months"]]
        what = _explain(known, parts) + (f" (from {min(since)} on)" if since else "")
        return Difference(CHANGED, what, last)

    def _counts(self, part: str) -> bool:
        """Whether to compare a part: concepts only if this run has some, as models may not."""
        return part != "concepts" or self.concepts is not None

    def _name(self, parts: Parts, row: int) -> dict[str, str]:
        """Return hexadecimal digests of the market's parts, and of the concepts up to a row."""
        named = {name: digest.hex() for name, digest in parts.items()}
        if self.concepts is not None:
            named["concepts"] = concepts_digest(self.concepts, self.market, row)
        return named


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
    return _digest(json.dumps(labels).encode(), *columns, weights).hex()


_MONTHS: WeakKeyDictionary[Market, dict[str, Parts]] = WeakKeyDictionary()
_FIRST_ROWS: WeakKeyDictionary[Market, Tensor] = WeakKeyDictionary()


def _hash_months(market: Market, n_days: int | None = None) -> dict[str, Parts]:
    """Return the digests of each month's parts, for the first ``n_days`` days or all days."""
    starts = _month_starts(market.dates)
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


def _month_starts(dates: pd.DatetimeIndex) -> dict[str, int]:
    """Return the first row of each month."""
    starts: dict[str, int] = {}
    for row, month in enumerate(dates.strftime("%Y-%m")):
        starts.setdefault(month, row)
    return starts


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
        return _digest(_plain(rows), _plain(history))

    def series(values: Tensor) -> bytes:
        return _digest(_plain(values[start:stop]))

    names = [market.symbols[int(stock)] for stock in new]
    days = [*market.dates[start:stop].strftime("%Y-%m-%d")]
    parts = {
        "calendar": _digest(json.dumps(days).encode()),
        "symbols": _digest(json.dumps(names).encode()),
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


def _digest(*contents: bytes | npt.NDArray[Any]) -> bytes:
    digest = hashlib.blake2b(digest_size=8)
    for content in contents:
        digest.update(content if isinstance(content, bytes) else np.ascontiguousarray(content).data)
    return digest.digest()


def _join(months: Iterable[Parts]) -> Parts:
    """Return the digest of each part over all months."""
    found: dict[str, list[bytes]] = {}
    for parts in months:
        for name, digest in parts.items():
            found.setdefault(name, []).append(digest)
    return {name: _digest(*digests) for name, digests in found.items()}


def _fold(parts: Parts) -> str:
    """Return a short digest over the parts of a month."""
    return _digest(*parts.values()).hex()[:8]


def _explain(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Describe the parts that differ from those of a record."""
    missing, added = [n for n in then if n not in now], [n for n in now if n not in then]
    differ = [name for name in now if name in then and now[name] != then[name]]
    faults = []
    if axes := [name for name in AXES if name in differ]:
        faults.append(_describe_axes(axes))
    elif differ:
        verb = "differ" if len(differ) > 1 or differ == ["concepts"] else "differs"
        faults.append(f"{shorten(differ, 8)} {verb}, {' and '.join(AXES)} are the same")
    if missing:
        faults.append(f"{shorten(missing)} missing")
    if added:
        faults.append(f"{shorten(added)} new")
    return "; ".join(faults)


def _describe_axes(parts: Sequence[str]) -> str:
    texts = {"calendar": "the calendar differs", "symbols": "the universe members differ"}
    return " and ".join(texts[name] for name in parts)
