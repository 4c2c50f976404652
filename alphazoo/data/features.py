"""Features: what a model sees of each stock, gathered day by day from the market's panels."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Self

import torch
from torch import Tensor

from alphazoo.data.market import Market
from alphazoo.errors import InputError, shorten


class FeatureSet(ABC):
    """A choice of features; bound to a market it gives the window of any day.

    Args:
        columns: [F], names of the features of one day.
        window: T, days a model looks back on, today included.

    Attributes:
        cache: Folder that keeps what is computed once; None where nothing is kept.
    """

    cache: str | None = None

    def __init__(self, columns: Sequence[str], window: int) -> None:
        if window < 1:
            raise InputError(f"features.window is 1 day or more, got {window}")
        if not columns:
            raise InputError("features.columns is empty: expected at least one")
        if twice := [name for name, count in Counter(columns).items() if count > 1]:
            raise InputError(f"features.columns has names that stand twice: {shorten(twice)}")
        self.columns = list(columns)
        self.window = window

    def check_history(self, market: Market) -> None:
        """Refuse a market that is shorter than the window."""
        if self.window > len(market.dates):
            raise InputError(
                f"features.window is {self.window} days, but market {market.name!r} has only "
                f"{len(market.dates)}"
            )

    @abstractmethod
    def bind(self, market: Market) -> "Windows":
        """Tie the features to a market."""


class Windows(ABC):
    """The features of a market, unscaled. Features of day t depend on days up to t alone."""

    @abstractmethod
    def __call__(self, day: int, stocks: Tensor) -> Tensor:
        """Gather the windows of some stocks that end on a day.

        Args:
            day: Row of the calendar.
            stocks: [N], columns of the universe.

        Returns:
            [T, N, F], oldest first; NaN where unknown. Time comes first in memory, as recurrent
            layers read it.
        """

    @abstractmethod
    def columns(self, days: Tensor) -> Iterator[Tensor]:
        """Yield each column that is scaled by statistics of its own, one at a time.

        Args:
            days: [d], rows of the calendar.

        Yields:
            [d, S], unscaled, in the order of a flattened ``statistics_shape``.
        """

    @property
    @abstractmethod
    def statistics_shape(self) -> tuple[int, int]:
        """(T, F) where each lag has statistics of its own, (1, F) where all lags share them."""

    @abstractmethod
    def to(self, device: torch.device) -> Self:
        """Copy with the panels on that device."""
