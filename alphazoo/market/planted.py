"""What moves a synthetic market, so that the best possible IC is known."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from alphazoo.errors import InputError

DELAY = 2  # a signal of day t moves the return from the close of t+1 to that of t+2


@dataclass(frozen=True, eq=False)
class Planted:
    """The structure that a synthetic market is made of.

    Attributes:
        signals: [D, S] each: what day t says about the return from the close of t+1 to that of t+2,
            in daily volatilities of the stock. ``own`` is short-term reversal, which the stock's
            own window shows; ``sector`` is what the leaders of its sector did, which only a model
            that sees the other stocks can know.
        sectors: [S], the sector of each stock.
    """

    signals: Mapping[str, Tensor]
    sectors: Tensor

    def signal(self, part: str) -> Tensor:
        """[D, S], one of the signals, or the sum of ``"all"``.

        Raises:
            InputError: There is no such part.
        """
        if part == "all":
            return sum(self.signals.values(), torch.zeros(()))
        if part not in self.signals:
            raise InputError(f"part is 'all' or one of {sorted(self.signals)}, got {part!r}")
        return self.signals[part]
