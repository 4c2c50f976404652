"""Scales features, by statistics of the training days or within each day."""

import copy
import logging
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Le
from torch import Tensor

from alphazoo.data.ranks import scaled_ranks
from alphazoo.errors import InputError, shorten
from alphazoo.features.base import FeatureWindows

log = logging.getLogger(__name__)

Values = npt.NDArray[np.float32]


class Scaler(ABC):
    """Scales the windows of a day; values that are not finite become 0."""

    fitted = True

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """Scale windows [T, N, F]; infinite values count as NaN."""

    def fit(  # noqa: B027
        self,
        windows: FeatureWindows,
        days: Iterable[int],
        present: Tensor,
        names: Sequence[str] = (),
    ) -> None:
        """Fit statistics on the training days; scalers without statistics do nothing.

        Args:
            windows: The unscaled features.
            days: Rows of the calendar, the training days.
            present: [D, S] bool, the stocks of each day.
            names: [F], names of the features, for the log.
        """

    def to(self, device: torch.device) -> Self:
        """Return a copy with the statistics on the device."""
        return self

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics, for a checkpoint."""
        return {"kind": type(self).__name__}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the statistics of a checkpoint.

        Raises:
            InputError: They belong to another kind of scaler.
        """
        if state["kind"] != type(self).__name__:
            raise InputError(
                f"the checkpoint was made with the scaler {state['kind']}, but this run has "
                f"{type(self).__name__}"
            )


class FittedScaler(Scaler):
    """(x - center) / scale, with statistics of each column that are fitted on the training days.

    The table of all columns is never in memory. A column without two distinct values on the
    training days is scaled to 0 on all days.

    Args:
        max_rows: Maximum number of rows for exact statistics. With more rows, evenly spaced
            training days with about this many rows are used. (The standard error of the median of a
            million rows is about a thousandth of the standard deviation.)
    """

    bounds: tuple[float, float]  # smallest and largest value after scaling
    center: Tensor | None = None  # [T or 1, 1, F]
    scale: Tensor | None = None  # [T or 1, 1, F]

    def __init__(self, max_rows: int) -> None:
        if max_rows < 1:
            raise InputError(f"scaler.max_rows must be at least 1, got {max_rows}")
        self.max_rows = max_rows

    @staticmethod
    @abstractmethod
    def statistics(values: Values) -> tuple[float, float]:
        """Return center and scale of the finite values [R] of a column, which are not all equal."""

    @property
    def fitted(self) -> bool:  # type: ignore[override]
        """Whether statistics have been fitted or loaded."""
        return self.center is not None

    def fit(
        self,
        windows: FeatureWindows,
        days: Iterable[int],
        present: Tensor,
        names: Sequence[str] = (),
    ) -> None:
        """Fit the statistics of each column; see `Scaler`."""
        rows = torch.tensor([*days])
        rows = rows[:: max(1, round(int(present[rows].sum()) / self.max_rows))]
        cells = present[rows].flatten().nonzero().squeeze(1)
        found: list[tuple[float, float]] = []
        waiting: deque[Future[tuple[float, float]]] = deque()
        n_threads = torch.get_num_threads()  # numpy releases the lock while sorting
        with ThreadPoolExecutor(n_threads) as threads:
            for column in windows.columns(rows):
                waiting.append(threads.submit(self._fit_column, column, cells))
                if len(waiting) > 2 * n_threads:  # limits the columns in memory
                    found.append(waiting.popleft().result())
            found += [statistics.result() for statistics in waiting]
        statistics = torch.tensor(found).view(windows.statistics_shape[0], 1, -1, 2)
        self.center, self.scale = (part.contiguous() for part in statistics.unbind(dim=-1))
        empty = self.scale.isinf().all(dim=0).flatten()
        if listed := [name for name, is_empty in zip(names, empty, strict=False) if is_empty]:
            log.info(
                "features that are unknown or constant on the training days are set to 0: %s",
                shorten(listed),
            )

    def __call__(self, x: Tensor) -> Tensor:
        """Scale windows [T, N, F]; infinite values count as NaN."""
        if self.center is None or self.scale is None:
            raise RuntimeError("the scaler is not fitted")
        scaled = (x - self.center) / self.scale
        scaled = torch.where(x.isfinite(), scaled, 0.0)
        return scaled.clamp_(*self.bounds)

    def to(self, device: torch.device) -> Self:
        """Return a copy with the statistics on the device."""
        moved = copy.copy(self)
        if self.center is not None and self.scale is not None:
            moved.center, moved.scale = self.center.to(device), self.scale.to(device)
        return moved

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics, for a checkpoint."""
        if self.center is None or self.scale is None:
            return super().state_dict()
        return {**super().state_dict(), "center": self.center, "scale": self.scale}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the statistics of a checkpoint; see `Scaler`."""
        super().load_state_dict(state)
        self.center, self.scale = state["center"], state["scale"]

    def _fit_column(self, column: Tensor, cells: Tensor) -> tuple[float, float]:
        """Return the statistics of a column [d, S] over its cells, given by their numbers."""
        known = column.take(cells)
        finite = known.isfinite()
        values: Values = (known if finite.all() else known[finite]).numpy()
        if not len(values) or values.min() == values.max():
            return (float(values[0]) if len(values) else 0.0), math.inf
        return self.statistics(values)


class ZScore(FittedScaler):
    """(x - mean) / standard deviation, clipped.

    Args:
        clip: Largest absolute value after scaling.
        max_rows: See `FittedScaler`.
    """

    def __init__(self, clip: Annotated[float, Le(math.inf)], max_rows: int) -> None:
        super().__init__(max_rows)
        self.bounds = _symmetric(clip)

    @staticmethod
    def statistics(values: Values) -> tuple[float, float]:
        """Return mean and standard deviation."""
        return float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))


class RobustZScore(ZScore):
    """(x - median) / (1.4826 (MAD + 1e-12)), clipped. MAD: median absolute deviation."""

    @staticmethod
    def statistics(values: Values) -> tuple[float, float]:
        """Return the median, and 1.4826 times the median absolute deviation."""
        median = np.median(values)
        return float(median), 1.4826 * (float(np.median(np.abs(values - median))) + 1e-12)


class MinMax(FittedScaler):
    """(x - minimum) / (maximum - minimum) with those of the training days, clipped to [0, 1]."""

    bounds = (0.0, 1.0)

    @staticmethod
    def statistics(values: Values) -> tuple[float, float]:
        """Return the minimum and the range."""
        return float(values.min()), float(values.max()) - float(values.min())


class DayZScore(Scaler):
    """(x - mean) / standard deviation of each column among the stocks of the day, clipped.

    Args:
        clip: Largest absolute value after scaling.
    """

    def __init__(self, clip: Annotated[float, Le(math.inf)]) -> None:
        self.bounds = _symmetric(clip)

    def __call__(self, x: Tensor) -> Tensor:
        """Scale windows [T, N, F]; infinite values count as NaN, a constant column becomes 0."""
        known = x.isfinite()
        count = known.sum(dim=1, keepdim=True)
        low = torch.where(known, x, torch.inf).amin(dim=1, keepdim=True)
        high = torch.where(known, x, -torch.inf).amax(dim=1, keepdim=True)
        # dividing first avoids overflow: the square of a turnover of 1e20 exceeds float32
        largest = torch.maximum(low.abs(), high.abs())
        unit = torch.where(known & (low < high), x / largest, torch.nan)
        centred = unit - unit.nanmean(dim=1, keepdim=True)
        variance = centred.square().nansum(dim=1, keepdim=True) / (count - 1)
        return (centred / variance.sqrt()).nan_to_num(0.0).clamp_(*self.bounds)


class DayRank(Scaler):
    """(percentile rank - 0.5) * 3.46 of each column among the stocks of the day.

    This has about unit variance, like labels that are scaled to ranks.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Scale windows [T, N, F]; infinite values count as NaN."""
        x = torch.where(x.isfinite(), x, torch.nan)
        return scaled_ranks(x.transpose(1, 2)).transpose(1, 2).nan_to_num(0.0)


def _symmetric(clip: Annotated[float, Le(math.inf)]) -> tuple[float, float]:
    if not clip > 0:
        raise InputError(f"scaler.clip must be above 0, got {clip}")
    return -clip, clip
