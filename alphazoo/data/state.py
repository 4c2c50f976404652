"""Market state: recent returns and turnover of market indices, the same for all stocks of a day.

The market information of MASTER: Li et al., "MASTER: market-guided stock transformer for stock
price forecasting", AAAI 2024. https://arxiv.org/abs/2312.15235
The columns, their order and their scaling are those of the data that the authors published.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from alphazoo.data.scaling import RobustZScore, Scaler
from alphazoo.errors import InputError
from alphazoo.features.moments import Moments
from alphazoo.features.panels import PanelWindows
from alphazoo.features.rolling import Sums, lagged
from alphazoo.market.market import Market

DAYS = (5, 10, 20, 30, 60)
ROLLING = ("return_mean", "return_std", "turnover_mean", "turnover_std")
COLUMNS = ("return", *(f"{name}{n}" for n in DAYS for name in ROLLING))


def state_columns(indices: Iterable[str]) -> list[str]:
    """Return [M] column names: ``SH000300_return``, ``SH000300_return_mean5``, ..."""
    return [f"{symbol}_{name}" for symbol in indices for name in COLUMNS]


@dataclass(frozen=True, eq=False)
class MarketState:
    """The state of a market on each day, computed from its indices.

    Attributes:
        indices: Symbols of the indices.
        panel: [D, M] float32, unscaled; NaN where unknown.
        scaler: Scaler with statistics of the training days.
    """

    indices: tuple[str, ...]
    panel: Tensor
    scaler: Scaler

    @classmethod
    def of(cls, market: Market) -> "MarketState":
        """Compute the state of a market; M = 0 if it has no indices."""
        parts = [_index_state(series) for series in market.indices.values()]
        return cls(
            indices=tuple(market.indices),
            panel=torch.cat([torch.empty(len(market.dates), 0), *parts], dim=1),
            scaler=RobustZScore(clip=3.0, max_rows=len(market.dates)),
        )

    @property
    def columns(self) -> list[str]:
        """The names of the M columns."""
        return state_columns(self.indices)

    def fit(self, days: Iterable[int]) -> None:
        """Fit the scaler on rows of the calendar, unless a checkpoint has provided statistics."""
        if not self.scaler.fitted:
            one_stock = PanelWindows([self.panel.T.unsqueeze(2)], range(len(self.columns)), 1)
            present = torch.ones(len(self.panel), 1, dtype=torch.bool)
            self.scaler.fit(one_stock, days, present, self.columns)

    def on(self, row: int) -> Tensor:
        """Return the scaled state [M] after the close of a day; 0 where unknown."""
        return self.scaler(self.panel[row].view(1, 1, -1)).flatten()

    def to(self, device: torch.device) -> "MarketState":
        """Return a copy on the device."""
        return replace(self, panel=self.panel.to(device), scaler=self.scaler.to(device))

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics, for a checkpoint."""
        return {"indices": list(self.indices), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the statistics of a checkpoint.

        Raises:
            InputError: The checkpoint was made with other indices.
        """
        if state["indices"] != list(self.indices):
            raise InputError(
                f"the checkpoint was made with data.indices={state['indices']}, but this run has "
                f"{list(self.indices)}"
            )
        if self.indices:
            self.scaler.load_state_dict(state["scaler"])


def _index_state(series: Mapping[str, Tensor]) -> Tensor:
    """Return [D, 21] for one index: its return, and mean and deviation of return and turnover.

    Turnover is relative to today's turnover; a day without turnover is missing.
    """
    close = series["close"].unsqueeze(1)
    amount = series.get("amount", series["volume"]).unsqueeze(1)
    turnover = amount.where(amount > 0, torch.nan)
    change = close / lagged(close, 1) - 1
    longest = max(DAYS)
    return_sums, return_spread = Sums(change, longest), Moments(change, longest=longest)
    turnover_sums, turnover_spread = Sums(turnover, longest), Moments(turnover, longest=longest)
    parts = [change]
    for n in DAYS:
        parts += [return_sums.mean(n), return_spread.std(n)]
        parts += [turnover_sums.mean(n) / turnover, turnover_spread.std(n) / turnover]
    return torch.cat(parts, dim=1).float()
