"""Concepts that a run has computed from its train days, as its checkpoint keeps them.

Symbols and dates take the place of columns and rows, so that they mean the same on a market that
has grown: symbols that are gone are left out, new ones have no concept.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from alphazoo.data.concepts import Concepts
from alphazoo.data.market import Market


def concepts_state(concepts: Concepts, market: Market) -> dict[str, Any]:
    """Plain lists of the memberships of a market.

    Returns:
        ``names`` [C]; ``symbols``, ``concepts``, ``first``, ``last`` and ``weights`` [M], where
        ``first`` and ``last`` are dates, None at the ends of the calendar.
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
    """The concepts of a state on a market, which may be another than the one they are of."""
    stocks = pd.Index(market.symbols).get_indexer(pd.Index(state["symbols"], dtype=object))
    first, last = (pd.to_datetime(pd.Series(state[end], dtype=object)) for end in ("first", "last"))
    starts = market.dates.searchsorted(first.fillna(market.dates[0]), "left")
    stops = market.dates.searchsorted(last.fillna(market.dates[-1]), "right") - 1
    there = stocks >= 0
    return Concepts(
        names=tuple(state["names"]),
        n_stocks=len(market.symbols),
        stocks=torch.from_numpy(stocks[there].astype(np.int64)),
        concepts=torch.tensor(state["concepts"], dtype=torch.long)[there],
        first=torch.from_numpy(starts.astype(np.int64)[there]),
        last=torch.from_numpy(stops.astype(np.int64)[there]),
        weights=torch.tensor(state["weights"], dtype=torch.float32)[there],
    )


def join_concepts(parts: Mapping[str, tuple[Concepts, range]]) -> Concepts:
    """Concepts of several runs on one market, each on its own days alone.

    Args:
        parts: By a prefix for their names: the concepts, and the rows of the calendar on which
            they hold.
    """
    cut: list[Concepts] = []
    for concepts, rows in parts.values():
        first = concepts.first.clamp(min=rows.start)
        last = concepts.last.clamp(max=rows.stop - 1)
        cut.append(_choose(concepts, first, last))
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


def _choose(concepts: Concepts, first: torch.Tensor, last: torch.Tensor) -> Concepts:
    """The memberships that hold on some day from ``first`` to ``last``."""
    holds = first <= last
    return Concepts(
        names=concepts.names,
        n_stocks=concepts.n_stocks,
        stocks=concepts.stocks[holds],
        concepts=concepts.concepts[holds],
        first=first[holds],
        last=last[holds],
        weights=concepts.weights[holds],
    )
