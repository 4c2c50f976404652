"""Features: what a model sees of each stock, gathered day by day from the market's panels.

Prices that a vendor adjusts backwards know later events: a split or dividend of next year divides
every earlier price of the stock. Returns and ratios of prices do not change by that, but the level
of a price does, and so does volume beside it: a feature of the level, such as the logarithm of the
close, sees the future. No audit can tell, because the prices of a table of today never were those
of the past day. The features of this package are ratios; make your own from ratios, too, or adjust
forwards: give the table's splits and dividends instead of an adjusted close, see
`alphazoo.data.adjust`.
"""

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
        if window < 1:
            raise InputError(f"features.window is 1 day or more, got {window}")
        if not columns:
            raise InputError("features.columns is empty: expected at least one")
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
