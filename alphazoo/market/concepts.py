"""Concepts: sectors, themes or groups to which stocks belong, each membership with its dates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from alphazoo.market.market import Market


@dataclass(frozen=True, eq=False)
class Concepts:
    """M memberships of stocks in concepts.

    Attributes:
        names: [C], names of the concepts.
        n_stocks: S, number of stocks in the market.
        stocks: [M], the stock of each membership, as a column of the universe.
        concepts: [M], the concept of each membership, as an index of ``names``.
        first: [M], the first row of the calendar on which the membership holds.
        last: [M], the last row of the calendar on which it holds.
        weights: [M], above 0; 1 if no weights are given.
    """

    names: tuple[str, ...]
    n_stocks: int
    stocks: Tensor
    concepts: Tensor
    first: Tensor
    last: Tensor
    weights: Tensor

    def on(self, day: int, stocks: Tensor) -> Tensor:
        """Return the weights of stocks [N] in the concepts on a day, [N, C]; 0 for no member."""
        dense = self.weights.new_zeros(self.n_stocks, len(self.names))
        holds = (self.first <= day) & (day <= self.last)
        dense[self.stocks[holds], self.concepts[holds]] = self.weights[holds]
        return dense[stocks]

    def to(self, device: torch.device) -> "Concepts":
        """Return a copy on the device."""
        parts = ("stocks", "concepts", "first", "last", "weights")
        return replace(self, **{name: getattr(self, name).to(device) for name in parts})


def always(
    names: Sequence[str],
    stocks: "np.typing.NDArray[np.int64]",
    concepts: "np.typing.NDArray[np.int64]",
    market: Market,
) -> Concepts:
    """Return concepts whose memberships hold on all days, with weight 1.

    Args:
        names: [C].
        stocks: [M], columns of the universe.
        concepts: [M], indices of ``names``.
        market: The market.
    """
    return Concepts(
        names=tuple(names),
        n_stocks=len(market.symbols),
        stocks=torch.from_numpy(stocks),
        concepts=torch.from_numpy(concepts),
        first=torch.zeros(len(stocks), dtype=torch.long),
        last=torch.full((len(stocks),), len(market.dates) - 1),
        weights=torch.ones(len(stocks)),
    )


# returns the concepts of a market, given the rows of its training days
ConceptSource = Callable[[Market, Sequence[int]], Concepts]
Source = TypeVar("Source", bound=Callable[..., Concepts])

_DATA: set[object] = set()  # sources that `is_data` has marked


def is_data(source: Source) -> Source:
    """Mark a source whose concepts are data, like prices, which every run reads again."""
    _DATA.add(source)
    return source


def are_learned(source: str | Path | ConceptSource | None) -> bool:
    """Whether the concepts of a source are computed from the training days.

    Such concepts are stored in the checkpoint, because the trained model depends on them. All
    functions that are not marked by `is_data` count as computing them.
    """
    while isinstance(source, partial):
        source = source.func
    return callable(source) and source not in _DATA
