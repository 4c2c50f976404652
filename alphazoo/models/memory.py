"""The memory of IGMTF: the states of all stocks on all training days."""

import torch
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

# row of the calendar [], states [N, H], columns of the universe [N]
StatesByDay = list[tuple[Tensor, Tensor, Tensor]]


class Memory:
    """States of all stocks on many days, concatenated day by day.

    Attributes:
        rows: [R, H], one per stock and day.
        stocks: [R], columns of the universe.
        means: [days, H], mean over the stocks of each day.
        dates: [days], rows of the calendar.
    """

    def __init__(self, days: StatesByDay) -> None:
        dates, states, stocks = zip(*days, strict=True)
        self.rows = torch.cat(states)
        self.stocks = torch.cat(stocks)
        self.means = torch.stack([rows.mean(dim=0) for rows in states])
        self.dates = torch.stack(dates)
        self._counts = [*map(len, states)]
        self._starts = torch.tensor([0, *self._counts]).cumsum(0).tolist()

    def take(self, days: Tensor) -> Tensor:
        """Return the rows of the days at the given places, [R, H]."""
        return self._take(self.rows, days)

    def origin(self, days: Tensor) -> tuple[Tensor, Tensor]:
        """Return dates and stocks of the rows of `take`, [R] each."""
        counts = torch.tensor([self._counts[day] for day in days.tolist()], device=days.device)
        return self.dates[days].repeat_interleave(counts), self._take(self.stocks, days)

    def _take(self, values: Tensor, days: Tensor) -> Tensor:
        parts = [values[self._starts[day] : self._starts[day + 1]] for day in days.tolist()]
        return torch.cat(parts) if parts else values[:0]


def merge(days: StatesByDay) -> StatesByDay:
    """Gather the days of all processes, each of which holds a share; sort them by date."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return days
    device = days[0][1].device
    dates, states, stocks = zip(*days, strict=True)
    counts = torch.cat(gather_all_tensors(torch.tensor([*map(len, stocks)], device=device)))
    all_dates = torch.cat(gather_all_tensors(torch.stack(dates)))
    parts = (
        torch.split(torch.cat(gather_all_tensors(torch.cat(own))), counts.tolist())
        for own in (states, stocks)
    )
    merged = [*zip(all_dates, *parts, strict=True)]
    return [merged[place] for place in all_dates.argsort().tolist()]
