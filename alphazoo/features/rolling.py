"""Rolling statistics over the last n days of every stock, today included.

Panels are [D, S]; values that are not finite are missing. A statistic uses the known values of its
window, and is NaN if they are too few. Conventions follow pandas' ``rolling(n, min_periods=1)``
and, for regression, correlation and positions, the expression engine of Qlib 0.9.7.

`Fold` merges two adjacent windows into a longer one. A window of n days takes about 2 log2(n) steps
on whole panels, without the cancellation errors of differences of running totals. Intermediate
windows are kept, and shared by all lengths up to ``longest``.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

FLAT = 2e-5  # like Qlib, treat a series with a standard deviation up to this as constant

State = tuple[Tensor, ...]  # panels that describe the windows of some length


class Fold(ABC):
    """Windows of several lengths, each merged from two windows of half the length.

    Args:
        days: State of the windows of one day, panels [D, S].
        empty: Value that pads a panel before the first day.
        longest: The largest n that will be requested.
    """

    def __init__(self, *days: Tensor, empty: float, longest: int) -> None:
        self._n_days = len(days[0])
        # windows of n days start at row n - 1 of the padded panels, so merging needs no copies
        before = days[0].new_full((longest - 1, days[0].shape[1]), empty)
        self._windows: dict[int, State] = {1: tuple(torch.cat([before, day]) for day in days)}

    def over(self, n: int) -> State:
        """Return the state of the windows of n days, [D, S] each."""
        return tuple(panel[-self._n_days :] for panel in self._join(n))

    def _join(self, n: int) -> State:
        if n not in self._windows:
            recent, rest = n - n // 2, n // 2
            newer, older = self._join(recent), self._join(rest)
            self._windows[n] = self.merge(
                tuple(panel[rest:] for panel in newer),
                tuple(panel[:-recent] for panel in older),
                recent,
            )
        return self._windows[n]

    @abstractmethod
    def merge(self, newer: State, older: State, recent: int) -> State:
        """Merge windows of ``recent`` days with the windows that end just before them."""


class Sums(Fold):
    """Rolling sum and mean."""

    def __init__(self, x: Tensor, longest: int) -> None:
        known = x.isfinite()
        super().__init__(known.to(x.dtype), x.where(known, 0.0), empty=0.0, longest=longest)

    def merge(self, newer: State, older: State, recent: int) -> State:
        """Add counts and sums."""
        return newer[0] + older[0], newer[1] + older[1]

    def sum(self, n: int) -> Tensor:
        """Return the sums over n days, [D, S]; NaN without a value."""
        count, total = self.over(n)
        return total.where(count > 0, torch.nan)

    def mean(self, n: int) -> Tensor:
        """Return the means over n days, [D, S]; NaN without a value."""
        count, total = self.over(n)
        return total / count


class Maximum(Fold):
    """Rolling maximum."""

    def __init__(self, x: Tensor, longest: int) -> None:
        known = x.isfinite()
        super().__init__(x.where(known, -torch.inf), empty=-torch.inf, longest=longest)

    def merge(self, newer: State, older: State, recent: int) -> State:
        """Take the larger value."""
        return (torch.maximum(newer[0], older[0]),)

    def value(self, n: int) -> Tensor:
        """Return the maxima over n days, [D, S]; NaN without a value."""
        (largest,) = self.over(n)
        return largest.where(largest > -torch.inf, torch.nan)


class Position(Fold):
    """Position of the largest value in the window.

    As in Qlib, which uses numpy's ``argmax``, a missing day counts as larger than any value, and a
    window starts no earlier than the stock's first day.
    """

    def __init__(self, x: Tensor, longest: int) -> None:
        known = x.isfinite()
        listed = known.cumsum(0) > 0
        self._length = listed.cumsum(0)  # number of days since the first value, which is included
        self._known = Sums(known.float(), longest)
        level = x.where(known, torch.inf).where(listed, -torch.inf)
        super().__init__(level, torch.zeros_like(x), empty=-torch.inf, longest=longest)

    def merge(self, newer: State, older: State, recent: int) -> State:
        """Take the larger value, or the older one of two equal values."""
        age = torch.where(older[0] >= newer[0], older[1] + recent, newer[1])
        return torch.maximum(newer[0], older[0]), age

    def position(self, n: int) -> Tensor:
        """Return the positions, [D, S], from 1 (the oldest day) to n; NaN without a value.

        Of several equal values, the oldest one counts.
        """
        position = self._length.clamp(max=n) - self.over(n)[1]
        return position.where(self._known.sum(n) > 0, torch.nan)


class Ordered(Fold):
    """The sorted values of the window, as n panels in ascending order."""

    def __init__(self, x: Tensor, longest: int) -> None:
        known = x.isfinite()
        self._known = Sums(known.float(), longest)
        super().__init__(x.where(known, torch.inf), empty=torch.inf, longest=longest)

    def merge(self, newer: State, older: State, recent: int) -> State:
        """Merge sorted panels by Batcher's odd-even merge.

        Knuth, "The art of computer programming", volume 3, section 5.3.4.
        """
        if not newer or not older:
            return newer or older
        if len(newer) == len(older) == 1:
            return torch.minimum(newer[0], older[0]), torch.maximum(newer[0], older[0])
        low, *rest = self.merge(newer[::2], older[::2], recent)
        odd = self.merge(newer[1::2], older[1::2], recent)
        merged = [low]
        for a, b in zip(odd, rest, strict=False):
            merged += [torch.minimum(a, b), torch.maximum(a, b)]
        n_pairs = min(len(odd), len(rest))
        return *merged, *odd[n_pairs:], *rest[n_pairs:]

    def quantile(self, n: int, level: float) -> Tensor:
        """Return the quantiles, interpolated linearly, [D, S]; NaN without a value.

        Args:
            n: Number of days.
            level: In [0, 1].
        """
        ordered, count = self.over(n), self._known.sum(n)
        position = level * (n - 1)
        below, above = ordered[int(position)], ordered[min(int(position) + 1, n - 1)]
        result = torch.lerp(below, above, position - int(position)).where(count == n, torch.nan)
        gaps = ((count > 0) & (count < n)).flatten().nonzero().squeeze(1)  # windows with gaps
        values = torch.stack([panel.flatten()[gaps] for panel in ordered])  # [n, windows]
        positions = level * (count.flatten()[gaps] - 1)
        lower = positions.floor()
        low, high = (
            values.gather(0, index.clamp(max=n - 1).long().unsqueeze(0)).squeeze(0)
            for index in (lower, lower + 1)
        )
        share = positions - lower
        result.view(-1)[gaps] = low + (high.where(share > 0, low) - low) * share
        return result


class Rank:
    """Rolling percentile rank of today's value; equal values share the mean of their ranks.

    Args:
        x: [D, S].
        longest: The largest n that will be requested.
    """

    def __init__(self, x: Tensor, longest: int) -> None:
        self._x = x
        self._known = Sums(x.isfinite().float(), longest)
        # by n: number of values in the window below today's, plus number not above it
        self._passed = {1: x.isfinite().to(torch.int16)}

    def rank(self, n: int) -> Tensor:
        """Return the ranks, [D, S] in (0, 1]; NaN where today's value is missing."""
        rank = (self._count(n) + 1) / 2
        return (rank / self._known.sum(n)).where(self._x.isfinite(), torch.nan)

    def _count(self, n: int) -> Tensor:
        if n not in self._passed:
            known = max(m for m in self._passed if m < n)
            count = self._passed[known].clone()
            for lag in range(known, min(n, len(count))):
                today, past = self._x[lag:], self._x[:-lag]
                count[lag:] += (today > past).view(torch.int8)
                count[lag:] += (today >= past).view(torch.int8)
            self._passed[n] = count
        return self._passed[n]


def lagged(x: Tensor, days: int, fill: float = torch.nan) -> Tensor:
    """Return the values some days earlier, [D, S]; ``fill`` before the first day."""
    head = x.new_full((min(days, len(x)), *x.shape[1:]), fill)
    return torch.cat([head, x[: len(x) - len(head)]])
