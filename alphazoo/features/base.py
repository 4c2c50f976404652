"""Base classes of features, the model's input for each stock, computed from a market's panels.

Beware of look-ahead in prices that a vendor adjusts backwards: each split or dividend divides all
earlier prices of the stock. Returns and ratios of prices are unaffected, but levels of adjusted
prices and volumes depend on later events. A feature that uses the level, such as the logarithm of
the close, therefore looks ahead, and no audit can detect this, because the data no longer contain
the prices as they were known on the day. All features of this package are ratios. Your own features
should be ratios, too; otherwise adjust prices forwards, by giving splits and dividends instead of
an adjusted close, see `alphazoo.market.adjust`.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Self

import torch
from torch import Tensor

from alphazoo.errors import InputError, shorten
from alphazoo.market.market import Market


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
            raise InputError(f"features.window must be at least 1 day, got {window}")
        if not columns:
            raise InputError("features.columns is empty, expected at least one column")
        if repeated := [name for name, count in Counter(columns).items() if count > 1]:
            raise InputError(f"features.columns has duplicate names: {shorten(repeated)}")
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
    def bind(self, market: Market) -> "FeatureWindows":
        """Bind the features to a market."""


class FeatureWindows(ABC):
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
