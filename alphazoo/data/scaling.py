"""Scaling of features: by statistics of the train days, or among the stocks of each day."""

import copy
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Le
from torch import Tensor

from alphazoo.data.features import Windows
from alphazoo.data.ranks import scaled_ranks
from alphazoo.errors import InputError, shorten

log = logging.getLogger(__name__)

Values = npt.NDArray[np.float32]


class Scaler(ABC):
    """Scales the windows of a day; whatever is not finite becomes 0."""

    fitted = True

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """Scale windows [T, N, F]; infinite values count as NaN."""

    def fit(  # noqa: B027
        self, windows: Windows, days: Iterable[int], present: Tensor, names: Sequence[str] = ()
    ) -> None:
        """Fit on the stocks that are present on some days, where there is something to fit.

        Args:
            windows: The features.
            days: Rows of the calendar: the train days.
            present: [D, S] bool.
            names: [F], to say which features are 0 everywhere.
        """

    def to(self, device: torch.device) -> Self:
        """Copy with the statistics on that device."""
        return self

    def state_dict(self) -> dict[str, Any]:
        """The statistics, for a checkpoint."""
        return {"kind": type(self).__name__}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the statistics of a checkpoint.

        Raises:
            InputError: They are those of another kind of scaler.
        """
        if state["kind"] != type(self).__name__:
            raise InputError(
                f"the checkpoint was made with the scaler {state['kind']}, here it is "
                f"{type(self).__name__}"
            )


class FittedScaler(Scaler):
    """(x - center) / scale with statistics of each column, fitted on the train days.

    Columns are fitted one at a time (one per thread), so that the table of all is never in memory.
    A column without two different values on the train days is 0 on all days.

    Args:
        max_rows: Up to so many rows the statistics are exact; beyond, they come from evenly spaced
            train days with about so many (the error of a median of a million rows is a thousandth
            of its standard deviation).
    """

    bounds: tuple[float, float]  # least and greatest value after scaling
    center: Tensor | None = None  # [T or 1, 1, F]
    scale: Tensor | None = None  # [T or 1, 1, F]

    def __init__(self, max_rows: int) -> None:
        if max_rows < 1:
            raise InputError(f"scaler.max_rows is 1 or more, got {max_rows}")
        self.max_rows = max_rows

    @staticmethod
    @abstractmethod
    def statistics(values: Values) -> tuple[float, float]:
        """Center and scale of the finite values [R] of a column, two of which differ."""

    @property
    def fitted(self) -> bool:  # type: ignore[override]
        """Whether there are statistics, fitted or loaded."""
        return self.center is not None

    def fit(
        self, windows: Windows, days: Iterable[int], present: Tensor, names: Sequence[str] = ()
    ) -> None:
        """Fit on the stocks that are present on some days; see `Scaler`."""
        rows = torch.tensor([*days])
        step = max(1, round(int(present[rows].sum()) / self.max_rows))
        rows = rows[::step]
        mask = present[rows]
        columns = (column[mask] for column in windows.columns(rows))
        found: list[tuple[float, float]] = []
        n_threads = torch.get_num_threads()
        with ThreadPoolExecutor(n_threads) as threads:  # numpy sorts without the lock
            while few := [*islice(columns, n_threads)]:  # no more columns in memory than threads
                found += threads.map(self._fit_column, few)
        time, features = windows.statistics_shape
        statistics = torch.tensor(found).view(time, 1, features, 2)
        self.center = statistics[..., 0].contiguous()
        self.scale = statistics[..., 1].contiguous()
        empty = self.scale.isinf().all(dim=0).flatten()
        if said := [name for name, nothing in zip(names, empty, strict=False) if nothing]:
            log.info("unknown or constant on the train days, so 0 everywhere: %s", shorten(said))

    def __call__(self, x: Tensor) -> Tensor:
        """Scale windows [T, N, F]; infinite values count as NaN."""
        if self.center is None or self.scale is None:
            raise RuntimeError("the scaler is not fitted")
        scaled = (x - self.center) / self.scale
        scaled = torch.where(x.isfinite(), scaled, 0.0)
        return scaled.clamp_(*self.bounds)

    def to(self, device: torch.device) -> Self:
        """Copy with the statistics on that device."""
        moved = copy.copy(self)
        if self.center is not None and self.scale is not None:
            moved.center, moved.scale = self.center.to(device), self.scale.to(device)
        return moved

    def state_dict(self) -> dict[str, Any]:
        """The statistics, for a checkpoint."""
        if self.center is None or self.scale is None:
            return super().state_dict()
        return {**super().state_dict(), "center": self.center, "scale": self.scale}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the statistics of a checkpoint; see `Scaler`."""
        super().load_state_dict(state)
        self.center, self.scale = state["center"], state["scale"]

    def _fit_column(self, column: Tensor) -> tuple[float, float]:
        values: Values = column[column.isfinite()].numpy()
        if not len(values) or values.min() == values.max():
            return (float(values[0]) if len(values) else 0.0), float("inf")
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
        """Mean and standard deviation."""
        return float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))


class RobustZScore(ZScore):
    """(x - median) / (1.4826 (MAD + 1e-12)), clipped. MAD: median absolute deviation."""

    @staticmethod
    def statistics(values: Values) -> tuple[float, float]:
        """Median, and 1.4826 times the median absolute deviation."""
        median = np.median(values)
        return float(median), 1.4826 * (float(np.median(np.abs(values - median))) + 1e-12)


class MinMax(FittedScaler):
    """(x - least) / (greatest - least) of the train days, clipped to [0, 1].

    Args:
        max_rows: See `FittedScaler`.
    """

    bounds = (0.0, 1.0)

    @staticmethod
    def statistics(values: Values) -> tuple[float, float]:
        """Least value, and the distance to the greatest."""
        return float(values.min()), float(values.max()) - float(values.min())


class DayZScore(Scaler):
    """(x - mean) / standard deviation among the stocks of the day, column by column, clipped.

    Args:
        clip: Largest absolute value after scaling.
    """

    def __init__(self, clip: Annotated[float, Le(math.inf)]) -> None:
        self.bounds = _symmetric(clip)

    def __call__(self, x: Tensor) -> Tensor:
        """Scale windows [T, N, F]; infinite values count as NaN, a constant column is 0."""
        known = x.isfinite()
        count = known.sum(dim=1, keepdim=True)
        low = torch.where(known, x, torch.inf).amin(dim=1, keepdim=True)
        high = torch.where(known, x, -torch.inf).amax(dim=1, keepdim=True)
        # float32 cannot hold the square of a turnover of 1e20
        largest = torch.maximum(low.abs(), high.abs())
        unit = torch.where(known & (low < high), x / largest, torch.nan)
        centred = unit - unit.nanmean(dim=1, keepdim=True)
        variance = centred.square().nansum(dim=1, keepdim=True) / (count - 1)
        return (centred / variance.sqrt()).nan_to_num(0.0).clamp_(*self.bounds)


class DayRank(Scaler):
    """(percentile rank - 0.5) * 3.46 among the stocks of the day, column by column.

    On the scale of the label's ranks: close to unit variance.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Scale windows [T, N, F]; infinite values count as NaN."""
        x = torch.where(x.isfinite(), x, torch.nan)
        return scaled_ranks(x.transpose(1, 2)).transpose(1, 2).nan_to_num(0.0)


def _symmetric(clip: Annotated[float, Le(math.inf)]) -> tuple[float, float]:
    if not clip > 0:
        raise InputError(f"scaler.clip is above 0, got {clip}")
    return -clip, clip
