"""Fingerprints of data, which tell whether data have grown or changed since an earlier run.

To compare data with an earlier record, the data are truncated at the last day of the record.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from alphazoo.errors import shorten
from alphazoo.market.concepts import Concepts
from alphazoo.market.digests import (
    Parts,
    concepts_digest,
    hash_contents,
    hash_months,
    join_months,
    shorten_parts,
)
from alphazoo.market.market import Market

Record = dict[str, Any]  # plain values, for JSON and checkpoints

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
        months = hash_months(market)
        parts = join_months(months.values())
        return {
            "market": market.name,
            "fingerprint": _join_parts(parts),
            "days": len(market.dates),
            "stocks": len(market.symbols),
            "first": f"{market.dates[0]:%Y-%m-%d}",
            "last": f"{market.dates[-1]:%Y-%m-%d}",
            "parts": self._name(parts, len(market.dates) - 1),
            "months": {month: shorten_parts(found) for month, found in months.items()},
        }

    def upto(self, row: int) -> str:
        """Return the fingerprint of the market up to a row of the calendar.

        Days that are added later do not change it.
        """
        return _join_parts(join_months(hash_months(self.market, row + 1).values()))

    def compare(self, record: Mapping[str, Any], *, shared_only: bool = False) -> Difference:
        """Compare the data with those of an earlier record.

        Args:
            record: The record.
            shared_only: Leave out what only one of the two has, such as indices.
        """
        if "parts" not in record:
            return Difference(UNKNOWN)
        market, last = self.market, str(record["last"])
        n_days = int(market.dates.searchsorted(pd.Timestamp(last), "right"))
        if not n_days or market.dates[-1] < pd.Timestamp(last):
            now = f"{market.dates[0]:%Y-%m-%d} to {market.dates[-1]:%Y-%m-%d}"
            then = f"{record['first']} to {last}"
            return Difference(CHANGED, f"the data covered {then}, now they cover {now}", last)
        months = hash_months(market, n_days)
        parts = self._name(join_months(months.values()), n_days - 1)
        known = {name: digest for name, digest in record["parts"].items() if self._counts(name)}
        if shared_only:
            shared = parts.keys() & known.keys()
            parts, known = ({name: found[name] for name in shared} for found in (parts, known))
        if parts == known:
            return Difference(SAME if n_days == len(market.dates) else GROWN, "", last)
        folded = {month: shorten_parts(found) for month, found in months.items()}
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


def _join_parts(parts: Parts) -> str:
    named = sorted((name, digest.hex()) for name, digest in parts.items())
    return hash_contents(json.dumps(named).encode()).hex()


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
