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


class Moments(Fold):
    """Rolling means and sums of products of deviations, in float64; exact for constant series.

    Windows are merged by the formulas of Chan, Golub and LeVeque, "Updating formulae and a pairwise
    algorithm for computing sample variances", 1979.

    Args:
        series: One or two panels [D, S]; only days on which all have a value are used.
        longest: The largest n that will be requested.
    """

    def __init__(self, *series: Tensor, longest: int) -> None:
        self._size = len(series)
        self._pairs = [(i, j) for i in range(self._size) for j in range(i + 1)]
        known = torch.stack([x.isfinite() for x in series]).all(dim=0)
        means = [x.double().where(known, 0.0) for x in series]
        products = [torch.zeros_like(mean) for mean in means[:1] for _ in self._pairs]
        super().__init__(known.double(), *means, *products, empty=0.0, longest=longest)

    def merge(self, newer: State, older: State, recent: int) -> State:
        """Weight the means by count, and add the deviation between them to the products."""
        size = 1 + self._size
        count = newer[0] + older[0]
        weight = older[0] / count.clamp(min=1)
        gaps = [b - a for a, b in zip(newer[1:size], older[1:size], strict=True)]
        means = [torch.addcmul(a, gap, weight) for a, gap in zip(newer[1:size], gaps, strict=True)]
        scaled = [gap * (weight * newer[0]) for gap in gaps]
        products = [
            (a + b).addcmul_(scaled[i], gaps[j])
            for (i, j), a, b in zip(self._pairs, newer[size:], older[size:], strict=True)
        ]
        return count, *means, *products

    def std(self, n: int) -> Tensor:
        """Return the sample standard deviations of the last series, [D, S].

        NaN with fewer than two values.
        """
        state = self.over(n)
        return (state[-1] / (state[0] - 1)).sqrt().where(state[0] > 1, torch.nan)

    def correlation(self, n: int) -> Tensor:
        """Return the Pearson correlations of two series, [D, S]; NaN if one of them is constant."""
        count, _, _, xx, xy, yy = self.over(n)
        flat = FLAT**2 * (count - 1)
        return (xy / (xx * yy).sqrt()).where((xx > flat) & (yy > flat), torch.nan)


class Trend(Moments):
    """Rolling least-squares regression of the values on the days.

    Days are counted from the last day of each window, so that the result of a window does not
    depend on its place in the history, to the last bit.
    """

    def __init__(self, x: Tensor, longest: int) -> None:
        self._x = x
        super().__init__(torch.zeros_like(x), x, longest=longest)

    def merge(self, newer: State, older: State, recent: int) -> State:
        """Count the days of the older window from the last day of the newer one."""
        return super().merge(newer, (older[0], older[1] - recent, *older[2:]), recent)

    def slope(self, n: int) -> Tensor:
        """Return the slopes, per day, [D, S]; NaN with fewer than two values."""
        _, _, _, days, product, _ = self.over(n)
        return product / days

    def r_squared(self, n: int) -> Tensor:
        """Return the shares of explained variance, [D, S]; NaN if the series is constant."""
        return self.correlation(n).square()

    def residual(self, n: int) -> Tensor:
        """Return today's values minus the fitted ones, [D, S]; NaN with fewer than two values."""
        _, day, mean, *_ = self.over(n)
        return self._x - mean + self.slope(n) * day


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
