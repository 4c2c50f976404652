"""Alpha360: six price and volume series over sixty days, each relative to today's value.

These are the features of Qlib's benchmarks of the same name. The table of all windows (samples x
360) is never built: the windows of a day are cut from the market's panels when requested.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from alphazoo.data.features import FeatureSet, Windows
from alphazoo.data.market import Market

EPSILON = 1e-12


class Alpha360(FeatureSet):
    """Prices divided by today's close, and volume divided by today's volume.

    Args:
        columns: Fields of the market, in this order; ``vwap`` is NaN if the market lacks it.
        window: T, number of days in a window, today included.
    """

    def bind(self, market: Market) -> "Alpha360Windows":
        """Bind the features to the panels of a market, without copying them."""
        self.check_history(market)
        panels = {}
        for column in self.columns:
            if column == "vwap" and "vwap" not in market.fields:
                panels[column] = torch.tensor(torch.nan).expand(market.members.shape)
            else:
                panels[column] = market.field(column)
        return Alpha360Windows(panels, market.field("close"), self.window)


class Alpha360Windows(Windows):
    """Alpha360 of one market.

    Args:
        panels: F panels [D, S], by name.
        close: [D, S], close prices.
        window: T, number of days in a window.
    """

    def __init__(self, panels: Mapping[str, Tensor], close: Tensor, window: int) -> None:
        self.panels = panels
        self.close = close
        self.window = window

    def __call__(self, day: int, stocks: Tensor) -> Tensor:
        """Return the windows [T, N, F], relative to the values on ``day``."""
        first = day - self.window + 1
        windows = torch.stack(
            [
                panel[max(first, 0) : day + 1].index_select(1, stocks)
                / self._today(name, day)[stocks]
                for name, panel in self.panels.items()
            ],
            dim=2,
        )  # [T, N, F]
        if first < 0:  # history is shorter than the window
            windows = torch.nn.functional.pad(windows, (0, 0, 0, 0, -first, 0), value=torch.nan)
        return windows

    def columns(self, days: Tensor) -> Iterator[Tensor]:
        """Yield [d, S] for every lag, oldest first, and within a lag for every field."""
        for lag in reversed(range(self.window)):
            past = days - lag
            for name, panel in self.panels.items():
                values = panel[past.clamp(min=0)] / self._today(name, days)
                values[past < 0] = torch.nan
                yield values

    @property
    def statistics_shape(self) -> tuple[int, int]:
        """(T, F)."""
        return self.window, len(self.panels)

    def to(self, device: torch.device) -> "Alpha360Windows":
        """Return a copy with the panels on the device."""
        moved = {name: panel.to(device) for name, panel in self.panels.items()}
        close = moved["close"] if "close" in moved else self.close.to(device)
        return Alpha360Windows(moved, close, self.window)

    def _today(self, name: str, days: int | Tensor) -> Tensor:
        if name == "volume":
            return self.panels[name][days] + EPSILON
        return self.close[days]
