"""Scaling: statistics of the features, fitted on the train days only."""

import copy
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Self

import numpy as np
import torch
from torch import Tensor

from alphazoo.data.features import Windows
from alphazoo.errors import InputError


class RobustZScore:
    """(x - median) / (1.4826 (MAD + 1e-12)), clipped; then NaN becomes 0.

    Columns are fitted one at a time (one per thread), so that the table of all is never in memory.

    Args:
        clip: Largest absolute value after scaling.
        max_rows: Up to so many rows the statistics are exact; beyond, they come from evenly spaced
            train days with about so many (the error of a median of a million rows is a thousandth
            of its standard deviation).
    """

    center: Tensor | None = None  # [T or 1, 1, F]
    scale: Tensor | None = None  # [T or 1, 1, F]

    def __init__(self, clip: float, max_rows: int) -> None:
        if not (clip > 0 and max_rows > 0):
            raise InputError(f"need clip > 0 and max_rows > 0, got {clip} and {max_rows}")
        self.clip = clip
        self.max_rows = max_rows

    @property
    def fitted(self) -> bool:
        """Whether there are statistics, fitted or loaded."""
        return self.center is not None

    def fit(self, windows: Windows, days: Iterable[int], present: Tensor) -> None:
        """Fit on the stocks that are present on some days.

        Args:
            windows: The features.
            days: Rows of the calendar: the train days.
            present: [D, S] bool.
        """
        rows = torch.tensor([*days])
        step = max(1, round(int(present[rows].sum()) / self.max_rows))
        rows = rows[::step]
        mask = present[rows]
        columns = (column[mask] for column in windows.columns(rows))
        found: list[tuple[float, float]] = []
        n_threads = torch.get_num_threads()
        with ThreadPoolExecutor(n_threads) as threads:  # numpy sorts without the lock
            while few := [*islice(columns, n_threads)]:  # no more columns in memory than threads
                found += threads.map(_median_and_mad, few)
        time, features = windows.statistics_shape
        statistics = torch.tensor(found).view(time, 1, features, 2)
        self.center = statistics[..., 0].contiguous()
        self.scale = (1.4826 * (statistics[..., 1] + 1e-12)).contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        """Scale windows [T, N, F]; infinite values count as NaN."""
        if self.center is None or self.scale is None:
            raise RuntimeError("the scaler is not fitted")
        scaled = (x - self.center) / self.scale
        scaled = torch.where(x.isfinite(), scaled, 0.0)
        return scaled.clamp_(-self.clip, self.clip)

    def to(self, device: torch.device) -> Self:
        """Copy with the statistics on that device."""
        moved = copy.copy(self)
        if self.center is not None and self.scale is not None:
            moved.center, moved.scale = self.center.to(device), self.scale.to(device)
        return moved

    def state_dict(self) -> dict[str, Tensor]:
        """The statistics, for a checkpoint."""
        if self.center is None or self.scale is None:
            return {}
        return {"center": self.center, "scale": self.scale}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take the statistics of a checkpoint."""
        self.center, self.scale = state["center"], state["scale"]


def _median_and_mad(column: Tensor) -> tuple[float, float]:
    """Median and median absolute deviation of the finite values; 0 and 0 where there are none."""
    values = column[column.isfinite()].numpy()
    if not len(values):
        return 0.0, 0.0
    median = np.median(values)
    return float(median), float(np.median(np.abs(values - median)))
