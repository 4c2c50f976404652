"""One trading day is one item: `DayBatch` holds it, `Days` yields it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from uuid import uuid4

import torch
from torch import Tensor
from torch.utils.data import Dataset

from alphazoo.data.concepts import Concepts
from alphazoo.data.features import Windows
from alphazoo.data.scaling import Scaler
from alphazoo.data.state import MarketState
from alphazoo.errors import InputError


class DayBatch(NamedTuple):
    """All stocks of one trading day: the members of the universe that have a price.

    Attributes:
        features: [N, T, F], scaled, oldest day first.
        labels: [N], scaled for learning; NaN where unknown.
        returns: [N], raw forward return, for IC; NaN where unknown.
        stocks: [N], columns of the universe, increasing.
        concepts: [N, C], weight of the stock in each concept, 0 for no member; C = 0 without
            concepts.
        date: [], row of the calendar.
        market: [M], state of the market, scaled, see `alphazoo.data.state`; M = 0 without indices.
    """

    features: Tensor
    labels: Tensor
    returns: Tensor
    stocks: Tensor
    concepts: Tensor
    date: Tensor
    market: Tensor

    @property
    def memberships(self) -> Tensor:
        """``concepts``, for a model that cannot do without.

        Raises:
            InputError: The data have no concepts.
        """
        if self.concepts.shape[1] == 0:
            raise InputError(
                "the model needs concepts: set data.concepts=FILE (columns symbol and concept), or "
                "data/concepts=correlation to make groups from the train days"
            )
        return self.concepts


@dataclass(frozen=True, eq=False)
class DayPanels:
    """What days are made of; a day is made where these tensors are.

    Attributes:
        windows: The features, unscaled.
        scaler: Fitted on the train days.
        labels: [D, S].
        returns: [D, S].
        present: [D, S] bool.
        concepts: Who belongs to what, and when.
        market: What its indices did.
        key: Tells them from all other panels; a copy on another device has the same.
    """

    windows: Windows
    scaler: Scaler
    labels: Tensor
    returns: Tensor
    present: Tensor
    concepts: Concepts
    market: MarketState
    key: str = field(default_factory=lambda: uuid4().hex)

    def day(self, row: int) -> DayBatch:
        """Make the day at a row of the calendar."""
        stocks = self.present[row].nonzero().squeeze(1)  # [N]
        features = self.scaler(self.windows(row, stocks)).transpose(0, 1)  # [N, T, F]
        return DayBatch(
            features=features,
            labels=self.labels[row, stocks],
            returns=self.returns[row, stocks],
            stocks=stocks,
            concepts=self.concepts.on(row, stocks),
            date=torch.tensor(row, device=stocks.device),
            market=self.market.on(row),
        )

    def to(self, device: torch.device) -> "DayPanels":
        """Copy on that device."""
        return replace(
            self,
            windows=self.windows.to(device),
            scaler=self.scaler.to(device),
            labels=self.labels.to(device),
            returns=self.returns.to(device),
            present=self.present.to(device),
            concepts=self.concepts.to(device),
            market=self.market.to(device),
        )


class Repeat(NamedTuple):
    """Asks for a day once more, only so that all processes have as many: it has no labels."""

    item: int


class Days(Dataset[DayBatch]):
    """Trading days: item i is one day with all its stocks.

    Args:
        rows: Rows of the calendar, one per item.
        panels: What the days are made of.
    """

    def __init__(self, rows: Sequence[int], panels: DayPanels) -> None:
        self.rows = rows
        self.panels = panels

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_labels(self) -> int:
        """R, stocks that have a label, over all days."""
        return int(self.panels.labels[self.rows].isfinite().sum())

    @property
    def origin(self) -> tuple[object, ...]:
        """What the features are made of: panels, rows and statistics of the scaler, to compare."""
        statistics = [
            (name, value.cpu().numpy().tobytes() if isinstance(value, Tensor) else value)
            for name, value in self.panels.scaler.state_dict().items()
        ]
        return self.panels.key, [*self.rows], statistics

    def __getitem__(self, index: int | Repeat) -> DayBatch:
        if isinstance(index, Repeat):
            day = self[index.item]
            return day._replace(labels=torch.full_like(day.labels, torch.nan))
        return self.panels.day(self.rows[index])

    def __iter__(self) -> Iterator[DayBatch]:
        return map(self.panels.day, self.rows)
