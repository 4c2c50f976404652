"""The planted signals of a synthetic market, from which the best possible IC follows."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from alphazoo.errors import InputError

DELAY = 2  # a signal of day t affects the return from the close of day t+1 to that of day t+2


@dataclass(frozen=True, eq=False)
class Planted:
    """The planted structure of a synthetic market.

    Attributes:
        signals: [D, S] by name: the predictable part of the return from the close of day t+1 to
            that of day t+2, known on day t, in units of the stock's daily volatility. ``own`` is
            short-term reversal, which the stock's own window reveals. ``sector`` follows the
            leaders of the stock's sector, so only models that see other stocks can learn it.
        sectors: [S], the sector of each stock.
    """

    signals: Mapping[str, Tensor]
    sectors: Tensor

    def signal(self, part: str) -> Tensor:
        """Return one of the signals, or the sum of ``"all"``, [D, S].

        Raises:
            InputError: There is no such signal.
        """
        if part == "all":
            return sum(self.signals.values(), torch.zeros(()))
        if part not in self.signals:
            raise InputError(f"part must be 'all' or one of {sorted(self.signals)}, got {part!r}")
        return self.signals[part]
