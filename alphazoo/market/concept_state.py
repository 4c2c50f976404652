"""Saves the concepts that a training run computed in its checkpoint, and restores them.

A checkpoint stores symbols and dates instead of columns and rows, so that concepts can be restored
on a market that has grown. Symbols that have left the market are dropped, and new ones have no
concept.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from alphazoo.market.concepts import Concepts
from alphazoo.market.market import Market


def concepts_state(concepts: Concepts, market: Market) -> dict[str, Any]:
    """Return the memberships as plain lists.

    Returns:
        ``names`` [C]; ``symbols``, ``concepts``, ``first``, ``last`` and ``weights`` [M], where
        ``first`` and ``last`` are dates, or None for the first or last day of the calendar.
    """
    dates = [*market.dates.strftime("%Y-%m-%d")]
    ends = {0: None}, {len(dates) - 1: None}
    first, last = (
        [open_end.get(row, dates[row]) for row in rows.tolist()]
        for rows, open_end in zip((concepts.first, concepts.last), ends, strict=True)
    )
    return {
        "names": list(concepts.names),
        "symbols": [market.symbols[stock] for stock in concepts.stocks.tolist()],
        "concepts": concepts.concepts.tolist(),
        "first": first,
        "last": last,
        "weights": concepts.weights.tolist(),
    }


def restore_concepts(state: Mapping[str, Any], market: Market) -> Concepts:
    """Restore the concepts of a state on a market, which may differ from the original one."""
    stocks = pd.Index(market.symbols).get_indexer(pd.Index(state["symbols"], dtype=object))
    first, last = (pd.to_datetime(pd.Series(state[end], dtype=object)) for end in ("first", "last"))
    starts = market.dates.searchsorted(first.fillna(market.dates[0]), "left")
    stops = market.dates.searchsorted(last.fillna(market.dates[-1]), "right") - 1
    known = stocks >= 0
    return Concepts(
        names=tuple(state["names"]),
        n_stocks=len(market.symbols),
        stocks=torch.from_numpy(stocks[known].astype(np.int64)),
        concepts=torch.tensor(state["concepts"], dtype=torch.long)[known],
        first=torch.from_numpy(starts.astype(np.int64)[known]),
        last=torch.from_numpy(stops.astype(np.int64)[known]),
        weights=torch.tensor(state["weights"], dtype=torch.float32)[known],
    )


def join_concepts(parts: Mapping[str, tuple[Concepts, range]]) -> Concepts:
    """Join the concepts of several runs on one market, each limited to its own days.

    Args:
        parts: For each prefix of the concept names, the concepts of a run and the rows of the
            calendar on which they apply.
    """
    cut: list[Concepts] = []
    for concepts, rows in parts.values():
        first = concepts.first.clamp(min=rows.start)
        last = concepts.last.clamp(max=rows.stop - 1)
        cut.append(_limit(concepts, first, last))
    offsets = np.cumsum([0, *(len(part.names) for part in cut)])
    names: Sequence[str] = [
        f"{prefix} {name}" for prefix, (part, _) in parts.items() for name in part.names
    ]
    return Concepts(
        names=tuple(names),
        n_stocks=cut[0].n_stocks,
        stocks=torch.cat([part.stocks for part in cut]),
        concepts=torch.cat(
            [part.concepts + int(offset) for part, offset in zip(cut, offsets, strict=False)]
        ),
        first=torch.cat([part.first for part in cut]),
        last=torch.cat([part.last for part in cut]),
        weights=torch.cat([part.weights for part in cut]),
    )


def _limit(concepts: Concepts, first: torch.Tensor, last: torch.Tensor) -> Concepts:
    """Replace the first and last rows of all memberships [M], and drop those without a day."""
    kept = first <= last
    return Concepts(
        names=concepts.names,
        n_stocks=concepts.n_stocks,
        stocks=concepts.stocks[kept],
        concepts=concepts.concepts[kept],
        first=first[kept],
        last=last[kept],
        weights=concepts.weights[kept],
    )
