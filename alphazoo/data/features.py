"""Features: the inputs of a model for each stock, gathered day by day from the market's panels."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Self

import torch
from torch import Tensor

from alphazoo.data.market import Market
from alphazoo.errors import InputError, shorten


class FeatureSet(ABC):
    """A choice of features; bound to a market, it returns the windows of any day.

    Args:
        columns: [F], names of the features of one day.
        window: T, number of days in a window, today included.

    Attributes:
        cache: Folder that stores computed features; None does not store them.
    """

    cache: str | None = None

    def __init__(self, columns: Sequence[str], window: int) -> None:
        if window < 1 or not columns:
            raise InputError(
                "features need a window of at least 1 day and at least one column, "
                f"got window={window}, columns={list(columns)}"
            )
        if twice := [name for name, count in Counter(columns).items() if count > 1]:
            raise InputError(f"features.columns has duplicate names: {shorten(twice)}")
        self.columns = list(columns)
        self.window = window

    def check_history(self, market: Market) -> None:
        """Raise an `InputError` if the market has fewer days than the window."""
        if self.window > len(market.dates):
            raise InputError(
                f"features.window is {self.window} days, but market {market.name!r} has only "
                f"{len(market.dates)}"
            )

    @abstractmethod
    def bind(self, market: Market) -> "Windows":
        """Bind the features to a market."""


class Windows(ABC):
    """The unscaled features of a market. Features of day t depend only on days up to t."""

    @abstractmethod
    def __call__(self, day: int, stocks: Tensor) -> Tensor:
        """Return the windows of some stocks that end on a day.

        Args:
            day: Row of the calendar.
            stocks: [N], columns of the universe.

        Returns:
            [T, N, F], oldest day first; NaN where unknown. Time is the first dimension in memory,
            because recurrent layers read it in this order.
        """

    @abstractmethod
    def columns(self, days: Tensor) -> Iterator[Tensor]:
        """Yield each column that has its own scaling statistics, one at a time.

        Args:
            days: [d], rows of the calendar.

        Yields:
            [d, S], unscaled, in the order of a flattened ``statistics_shape``.
        """

    @property
    @abstractmethod
    def statistics_shape(self) -> tuple[int, int]:
        """(T, F) if each lag has its own statistics, (1, F) if all lags share them."""

    @abstractmethod
    def to(self, device: torch.device) -> Self:
        """Return a copy with the panels on the device."""
