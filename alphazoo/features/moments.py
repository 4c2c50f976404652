"""Rolling moments, correlation and trend, built on `alphazoo.features.rolling.Fold`."""

import torch
from torch import Tensor

from alphazoo.features.rolling import FLAT, Fold, State


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
