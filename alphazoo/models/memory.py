"""The memory of IGMTF: the states of all stocks on all training days."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn
from torchmetrics.utilities.distributed import gather_all_tensors


class Memory:
    """States of all stocks on many days, one day after the other, in arrays allocated once.

    Attributes:
        counts: Number of stocks of each day.
        rows: [R, H], one per stock and day.
        stocks: [R], columns of the universe.
        means: [days, H], mean over the stocks of each day.
        dates: [days], rows of the calendar.
    """

    def __init__(self, counts: Sequence[int], width: int, device: torch.device) -> None:
        self.counts = counts
        self._starts = [0, *accumulate(counts)]
        self._places = torch.arange(max(counts), device=device)
        self._bounds = torch.tensor([*pairwise(self._starts)], device=device)  # [days, 2]
        self.rows = torch.empty(self._starts[-1], width, device=device)
        self.stocks = torch.empty(self._starts[-1], dtype=torch.long, device=device)
        self.means = torch.empty(len(counts), width, device=device)
        self.dates = torch.empty(len(counts), dtype=torch.long, device=device)

    def put(self, place: int, date: Tensor, stocks: Tensor, states: Tensor) -> None:
        """Store the stocks [N] of a day and their states [N, H]."""
        rows = slice(self._starts[place], self._starts[place + 1])
        self.rows[rows] = states
        self.stocks[rows] = stocks
        self.means[place] = states.mean(dim=0)
        self.dates[place] = date

    def take(self, days: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of the days at the given places, each padded to the largest day.

        The shapes do not depend on which days these are, as the export to ONNX requires.

        Args:
            days: [K], places of days.
            seen: [K], false for days whose rows are marked as padding.

        Returns:
            Rows [R, H], and a mask [R] that is false for padding.
        """
        places, used = self._locate(days)
        return self.rows[places].flatten(0, 1), (used & seen.unsqueeze(1)).flatten()

    def origin(self, days: Tensor) -> tuple[Tensor, Tensor]:
        """Return dates and stocks of the rows of `take`, [R] each."""
        places, _ = self._locate(days)
        dates = self.dates[days].unsqueeze(1).expand_as(places)
        return dates.flatten(), self.stocks[places].flatten()

    def _locate(self, days: Tensor) -> tuple[Tensor, Tensor]:
        """Return the places of the rows of days [K], and which are no padding: [K, L] each."""
        start, stop = self._bounds[days].unsqueeze(1).unbind(dim=2)  # [K, 1]
        places = start + self._places
        return places.clamp(max=self.rows.shape[0] - 1), places < stop


def merge(memory: Memory) -> Memory:
    """Gather the days of all processes, each of which holds a share; sort them by date."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return memory
    counts = torch.tensor(memory.counts, device=memory.rows.device)
    dates, counts = (torch.cat(gather_all_tensors(own)) for own in (memory.dates, counts))
    states, stocks = (
        torch.split(torch.cat(gather_all_tensors(own)), counts.tolist())
        for own in (memory.rows, memory.stocks)
    )
    order = dates.argsort().tolist()
    width, device = memory.rows.shape[1], memory.rows.device
    merged = Memory([len(stocks[day]) for day in order], width, device)
    for place, day in enumerate(order):
        merged.put(place, dates[day], stocks[day], states[day])
    return merged


def weights_digest(network: nn.Module) -> int:
    """Return a number that tells whether weights have changed; it differs between processes."""
    weights = torch.cat([p.detach().flatten() for p in network.parameters()])
    return hash(weights.cpu().numpy().tobytes())
