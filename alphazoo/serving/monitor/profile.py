"""Profile of features by day: how many values lie in each bin, are missing, repeat; and a checksum.

The values are the unscaled ones of the newest day of a window. Features whose lags have statistics
of their own, such as Alpha360, are profiled at a few lags.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alphazoo.features.base import FeatureSet, FeatureWindows
from alphazoo.market.market import Market
from alphazoo.serving.monitor.limits import BINS

LAGS = (0, 1, 5, 20)  # and the oldest
CLIP = 10.0  # interquartile ranges; a checksum does not depend on the size of outliers

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Bins:
    """Deciles of each column on the training days.

    Attributes:
        edges: [F, 9], in ascending order.
        center: [F], the median.
        scale: [F], the interquartile range; 1 if it is 0.
    """

    edges: Values
    center: Values
    scale: Values

    @classmethod
    def of(cls, columns: Iterator[Tensor], mask: Tensor) -> "Bins":
        """Compute the deciles of columns [d, S] over the stocks of a mask [d, S]."""
        levels = np.arange(1, BINS) / BINS
        found = []
        for column in columns:
            values = column[mask]
            known = values[values.isfinite()].numpy()
            if not len(known):
                known = np.zeros(1, dtype=np.float32)
            found.append(np.quantile(known, [*levels, 0.25, 0.75]))
        table = np.array(found, dtype=np.float64)
        spread = table[:, -1] - table[:, -2]
        return cls(table[:, :-2], table[:, BINS // 2 - 1], np.where(spread > 0, spread, 1.0))


@dataclass(frozen=True, eq=False)
class Profile:
    """Counts of the features of several days.

    Attributes:
        counts: [d, F, 10], number of stocks with a value in each bin.
        missing: [d, F], share of stocks without a finite value; NaN on days without stocks.
        repeats: [d, F], share of the stocks with a value on both days whose value is exactly that
            of the day before; NaN without such stocks.
        checksums: [d, F], weighted sum of the values, in interquartile ranges. It changes if the
            value of any stock does.
    """

    counts: npt.NDArray[np.int64]
    missing: Values
    repeats: Values
    checksums: Values


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns of bound features that are profiled.

    Attributes:
        names: [F].
        windows: The unscaled features.
        positions: [F], position of each column in `FeatureWindows.columns`, in ascending order.
        present: [D, S] bool, the stocks of each day.
        weights: [S], weights of the checksums, which depend on the symbols alone.
    """

    names: Sequence[str]
    windows: FeatureWindows
    positions: Sequence[int]
    present: Tensor
    weights: Tensor

    @classmethod
    def of(cls, features: FeatureSet, windows: FeatureWindows, market: Market) -> "Columns":
        """Choose the columns."""
        steps, width = windows.statistics_shape
        lags = sorted({lag for lag in (*LAGS, steps - 1) if lag < steps}, reverse=True)
        pairs = [(lag, number) for lag in lags for number in range(width)]
        names = [
            features.columns[number] + (f"-{lag}" if steps > 1 else "") for lag, number in pairs
        ]
        weights = [0.5 + zlib.crc32(symbol.encode()) / 2**32 for symbol in market.symbols]
        return cls(
            names,
            windows,
            [(steps - 1 - lag) * width + number for lag, number in pairs],
            market.present,
            torch.tensor(weights, dtype=torch.float64),
        )

    def values(self, rows: Sequence[int]) -> Iterator[Tensor]:
        """Yield each column [d, S] on rows of the calendar."""
        wanted = {*self.positions}
        for position, column in enumerate(self.windows.columns(torch.tensor([*rows]))):
            if position in wanted:
                yield column

    def bins(self, rows: Sequence[int]) -> Bins:
        """Compute the deciles of each column on some rows of the calendar."""
        return Bins.of(self.values(rows), self.present[[*rows]])

    def checksums(self, rows: Sequence[int], bins: Bins) -> Values:
        """Return the checksums [d, F] of `Profile` alone."""
        cells = Cells.of(self.present[[*rows]], self.weights)
        columns = enumerate(self.values(rows))
        return np.stack([cells.checksum(x[cells.mask], bins, f) for f, x in columns], axis=1)

    def profile(self, rows: range, bins: Bins) -> Profile:
        """Profile consecutive rows of the calendar."""
        cells = Cells.of(self.present[rows.start : rows.stop], self.weights)
        parts = [
            (
                cells.count(x[cells.mask], bins.edges[f]),
                *cells.shares(x),
                cells.checksum(x[cells.mask], bins, f),
            )
            for f, x in enumerate(self.values(rows))
        ]
        return Profile(*(np.stack(part, axis=1) for part in zip(*parts, strict=True)))


@dataclass(frozen=True, eq=False)
class Cells:
    """The stocks of several days as one list, R pairs of day and stock.

    Attributes:
        mask: [d, S] bool, the stocks of each day.
        days: [R], position of the day.
        weights: [R], weight of the stock in the checksum.
    """

    mask: Tensor
    days: Tensor
    weights: Tensor

    @classmethod
    def of(cls, mask: Tensor, weights: Tensor) -> "Cells":
        """List the pairs of a mask [d, S], with the weights [S] of its stocks."""
        days, stocks = mask.nonzero(as_tuple=True)
        return cls(mask, days, weights[stocks])

    def count(self, values: Tensor, edges: Values) -> npt.NDArray[np.int64]:
        """Return the number of values [R] in each bin, [d, 10]."""
        known = values.isfinite()
        bins = torch.bucketize(values, torch.from_numpy(edges).to(values.dtype))
        bins = torch.where(known, self.days * BINS + bins, len(self.mask) * BINS)
        found = torch.bincount(bins, minlength=len(self.mask) * BINS + 1)[:-1]
        return found.view(len(self.mask), BINS).numpy()

    def shares(self, x: Tensor) -> tuple[Values, Values]:
        """Return the shares of missing and of repeated values [d] of a column [d, S]."""
        known = self.mask & x.isfinite()
        both = known[1:] & known[:-1]
        same = (both & (x[1:] == x[:-1])).sum(dim=1) / both.sum(dim=1)
        missing = 1 - known.sum(dim=1) / self.mask.sum(dim=1)
        return missing.double().numpy(), np.append(np.nan, same.double().numpy())

    def checksum(self, values: Tensor, bins: Bins, f: int) -> Values:
        """Return the weighted sums [d] of the values [R]; a missing one counts as far outside."""
        scaled = (values - bins.center[f]) / bins.scale[f]
        scaled = scaled.clamp_(-CLIP, CLIP).nan_to_num_(CLIP + 1) + 2 * CLIP  # never 0
        found = torch.bincount(self.days, self.weights * scaled, minlength=len(self.mask))
        return found.numpy()


def psi(counts: npt.NDArray[np.int64], reference: npt.NDArray[np.int64]) -> Values:
    """Return the population stability index of counts [..., 10] against a reference [..., 10].

    The sum of (p - q) ln(p / q) over bins, with shares p and q. Half a row is added to each bin, so
    that an empty bin has a share above 0. NaN without rows.
    """
    p, q = ((x + 0.5) / (x.sum(axis=-1, keepdims=True) + BINS / 2) for x in (counts, reference))
    found: Values = ((p - q) * np.log(p / q)).sum(axis=-1)
    return np.where(counts.sum(axis=-1) > 0, found, np.nan)


def pooled(counts: npt.NDArray[np.int64], days: int) -> npt.NDArray[np.int64]:
    """Return the sums of the last days, [d, ...]; the first days have fewer."""
    total = np.cumsum(counts, axis=0)
    total[days:] -= total[:-days].copy()
    return total
