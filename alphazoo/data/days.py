"""Trading days as items of a dataset: `Days` yields each day as a `DayBatch`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from uuid import uuid4

import torch
from torch import Tensor
from torch.utils.data import Dataset

from alphazoo.data.scaling import Scaler
from alphazoo.data.state import MarketState
from alphazoo.errors import InputError
from alphazoo.features.base import FeatureWindows
from alphazoo.market.concepts import Concepts


class DayBatch(NamedTuple):
    """The stocks of one trading day: the universe members with a price.

    Attributes:
        features: [N, T, F], scaled; T runs from the oldest day to the newest.
        labels: [N], scaled for training; NaN where unknown.
        returns: [N], raw forward return, for the IC; NaN where unknown.
        stocks: [N], columns of the market's panels, in ascending order.
        concepts: [N, C], weight of each stock in each concept, 0 if it is not a member; C = 0
            without concepts.
        date: [], row of the calendar.
        market: [M], scaled market state, see `alphazoo.data.state`; M = 0 without indices.
        targets: [N, L], labels by horizon, see `alphazoo.data.labels.Label`, NaN where unknown;
            L = 0 without ``label.horizons``, and the target is then ``labels``.
        target_returns: [N, L], raw forward returns by horizon.
        stock_weights: [N], relative weights of the stocks in the loss; [0] if they are equal.
        day_weight: [], weight of the day in the loss; 1 on average over the training days.
        memory: [N, L, K], what a model remembers of the stocks, if whoever scores keeps it, as with
            an exported model; [0, 0, 0] if the model does, see ``StockModel.recall``.
    """

    features: Tensor
    labels: Tensor
    returns: Tensor
    stocks: Tensor
    concepts: Tensor
    date: Tensor
    market: Tensor
    targets: Tensor = torch.empty(0, 0)
    target_returns: Tensor = torch.empty(0, 0)
    stock_weights: Tensor = torch.empty(0)
    day_weight: Tensor = torch.ones(())
    memory: Tensor = torch.empty(0, 0, 0)

    def without_labels(self) -> "DayBatch":
        """Return the day with all labels and returns unknown."""
        names = ("labels", "returns", "targets", "target_returns")
        unknown = {name: torch.full_like(getattr(self, name), torch.nan) for name in names}
        return self._replace(**unknown)

    @property
    def memberships(self) -> Tensor:
        """``concepts``, for models that require them.

        Raises:
            InputError: The data have no concepts.
        """
        if self.concepts.shape[1] == 0:
            raise InputError(
                "the model needs concepts: set data.concepts=FILE (columns symbol and concept), or "
                "data/concepts=correlation to derive groups from the training days"
            )
        return self.concepts


@dataclass(frozen=True, eq=False)
class DayPanels:
    """The tensors from which days are assembled; a day is on the device of these tensors.

    Attributes:
        windows: The unscaled features.
        scaler: Scaler of the features, fitted on the training days.
        labels: [D, S], scaled labels.
        returns: [D, S], raw forward returns.
        present: [D, S] bool, universe members with a price.
        concepts: Memberships of stocks in concepts.
        market: The market state.
        targets: [L, D, S], scaled labels by horizon.
        target_returns: [L, D, S], raw forward returns by horizon.
        stock_weights: [D, S], or [D, 0] for equal weights.
        day_weights: [D].
        key: Unique key; a copy on another device keeps it.
    """

    windows: FeatureWindows
    scaler: Scaler
    labels: Tensor
    returns: Tensor
    present: Tensor
    concepts: Concepts
    market: MarketState
    targets: Tensor
    target_returns: Tensor
    stock_weights: Tensor
    day_weights: Tensor
    key: str = field(default_factory=lambda: uuid4().hex)

    def day(self, row: int) -> DayBatch:
        """Assemble the day at a row of the calendar."""
        stocks = self.present[row].nonzero().squeeze(1)  # [N]
        features = self.scaler(self.windows(row, stocks)).transpose(0, 1)  # [N, T, F]
        weights = self.stock_weights[row]
        return DayBatch(
            features=features,
            labels=self.labels[row, stocks],
            returns=self.returns[row, stocks],
            stocks=stocks,
            concepts=self.concepts.on(row, stocks),
            date=torch.tensor(row, device=stocks.device),
            market=self.market.on(row),
            targets=self.targets[:, row, stocks].T,
            target_returns=self.target_returns[:, row, stocks].T,
            stock_weights=weights[stocks] if len(weights) else weights,
            day_weight=self.day_weights[row],
        )

    def to(self, device: torch.device) -> "DayPanels":
        """Return a copy on the device."""
        return replace(
            self,
            windows=self.windows.to(device),
            scaler=self.scaler.to(device),
            labels=self.labels.to(device),
            returns=self.returns.to(device),
            present=self.present.to(device),
            concepts=self.concepts.to(device),
            market=self.market.to(device),
            targets=self.targets.to(device),
            target_returns=self.target_returns.to(device),
            stock_weights=self.stock_weights.to(device),
            day_weights=self.day_weights.to(device),
        )


class Repeat(NamedTuple):
    """Index of a day that is repeated, without labels, so that all processes have equally many."""

    item: int


class Days(Dataset[DayBatch]):
    """A dataset of trading days: each item is one day with all its stocks.

    Args:
        rows: Rows of the calendar, one per item.
        panels: The tensors from which days are assembled.
    """

    def __init__(self, rows: Sequence[int], panels: DayPanels) -> None:
        self.rows = rows
        self.panels = panels

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def counts(self) -> list[int]:
        """Number of stocks of each day."""
        counts: list[int] = self.panels.present[self.rows].sum(dim=1).tolist()
        return counts

    @property
    def n_labels(self) -> int:
        """Number of labels over all days."""
        return int(self.panels.labels[self.rows].isfinite().sum())

    @property
    def origin(self) -> tuple[object, ...]:
        """Panels, rows and scaler statistics, which determine the features; for comparison."""
        statistics = [
            (name, value.cpu().numpy().tobytes() if isinstance(value, Tensor) else value)
            for name, value in self.panels.scaler.state_dict().items()
        ]
        return self.panels.key, [*self.rows], statistics

    def __getitem__(self, index: int | Repeat) -> DayBatch:
        if isinstance(index, Repeat):
            return self[index.item].without_labels()
        return self.panels.day(self.rows[index])

    def __iter__(self) -> Iterator[DayBatch]:
        return map(self.panels.day, self.rows)


DaySequence = Days | Sequence[DayBatch]
