"""The memory of TRA: the losses of its predictors on all stocks of past days."""

from collections.abc import Callable, Iterable
from typing import Self

import torch
from torch import Tensor

from alphazoo.data.days import DayBatch, DayPanels


class PastLosses:
    """Losses of K predictors by day and stock, 0 where a stock is absent.

    Args:
        n_days: D, number of days of the calendar.
        n_stocks: S, number of stocks of the universe.
        n_predictors: K.
        device: Device of the losses.
        panels: Where missing days come from; without it, missing days count as absent stocks.

    Attributes:
        values: [D, S, K], float32.
    """

    def __init__(
        self,
        n_days: int,
        n_stocks: int,
        n_predictors: int,
        *,
        device: torch.device,
        panels: DayPanels | None = None,
    ) -> None:
        with torch.inference_mode(False):  # so that training can fill what validation created
            self.values = torch.zeros(n_days, n_stocks, n_predictors, device=device)
        self._panels = panels
        self._filled = [panels is None] * n_days

    @classmethod
    def of(cls, panels: DayPanels, n_predictors: int) -> Self:
        """Return an empty memory of the days of a market, on the device of its panels."""
        n_days, n_stocks = panels.labels.shape
        device = panels.labels.device
        return cls(n_days, n_stocks, n_predictors, device=device, panels=panels)

    def put(self, day: DayBatch, losses: Tensor) -> None:
        """Store the losses [N, K] of a day."""
        self.values[day.date, day.stocks] = losses

    def fill(
        self,
        rows: Iterable[int],
        losses: Callable[[DayBatch], Tensor],
        *,
        rank: int = 0,
        processes: int = 1,
    ) -> int:
        """Compute the days that are missing; several processes compute a share each.

        Args:
            rows: Rows of the calendar.
            losses: Returns the losses [N, K] of a day.
            rank: Rank of this process.
            processes: Number of processes, all of which call this with the same rows.

        Returns:
            The number of days that were missing.
        """
        missing = [row for row in rows if not self._filled[row]]
        if not missing or self._panels is None:
            return 0
        for row in missing[rank::processes]:
            day = self._panels.day(row)
            if day.stocks.shape[0]:
                self.put(day, losses(day))
        if processes > 1:
            shared = self.values[missing]  # 0 except in one process
            torch.distributed.all_reduce(shared)
            self.values[missing] = shared
        for row in missing:
            self._filled[row] = True
        return len(missing)

    def upto(self, date: Tensor, stocks: Tensor, count: int) -> Tensor:
        """Return the losses of some stocks on the last days up to a date, oldest first.

        Args:
            date: [], row of the calendar.
            stocks: [N], columns of the universe.
            count: L, number of days.

        Returns:
            [N, L, K], 0 outside of the memory.
        """
        n_days, n_stocks, _ = self.values.shape
        rows = date - torch.arange(count - 1, -1, -1, device=stocks.device)  # [L]
        inside = ((rows >= 0) & (rows < n_days)) & (stocks < n_stocks).unsqueeze(1)  # [N, L]
        places = rows.clamp(0, n_days - 1), stocks.clamp(max=n_stocks - 1).unsqueeze(1)
        return self.values[places] * inside.unsqueeze(2)

    def moved(self, panels: DayPanels) -> "PastLosses":
        """Return a copy that takes missing days from other panels of the same market."""
        copy = PastLosses.of(panels, self.values.shape[2])
        copy.values, copy._filled = self.values.to(copy.values.device), [*self._filled]
        return copy

    def __deepcopy__(self, memo: object) -> "PastLosses":
        """Return a copy that shares the panels, which can be large."""
        n_days, n_stocks, n_predictors = self.values.shape
        copy = PastLosses(n_days, n_stocks, n_predictors, device=self.values.device)
        copy.values, copy._filled = self.values.clone(), [*self._filled]
        copy._panels = self._panels
        return copy
