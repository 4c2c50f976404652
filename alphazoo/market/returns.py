"""Forward returns: the return of a stock that is bought after its score is known."""

from typing import Protocol

import torch
from torch import Tensor

from alphazoo.errors import InputError


class Holding(Protocol):
    """The days of purchase and sale, as in `alphazoo.data.labels.Label`."""

    @property
    def buy(self) -> int:
        """Trading days from the score to the purchase, at least 1."""
        ...

    @property
    def sell(self) -> int:
        """Trading days from the score to the sale."""
        ...


def forward_return(close: Tensor, *, buy: int, sell: int) -> Tensor:
    """Return the return from the close of day t + ``buy`` to the close of day t + ``sell``.

    The score of day t is known after its close, so the first price at which one can trade is that
    of day t + 1. Qlib's benchmarks use ``buy=1, sell=2``.

    Args:
        close: [D, S], adjusted prices; NaN where a stock does not trade.
        buy: Trading days from the score to the purchase.
        sell: Trading days from the score to the sale.

    Returns:
        [D, S], a fraction per holding period (0.01 is one per cent); NaN for the last ``sell``
        days and wherever a price is missing.

    Raises:
        InputError: ``buy`` is below 1, which trades before the score is known, or ``sell`` is not
            larger than ``buy`` or not smaller than the number of days.
    """
    if not 1 <= buy < sell:
        raise InputError(f"need 1 <= buy < sell, got buy={buy}, sell={sell}")
    if sell >= len(close):
        raise InputError(
            f"label.sell must be less than the {len(close)} days of the market, got {sell}"
        )
    returns = torch.full_like(close, torch.nan)
    returns[:-sell] = close[sell:] / close[buy : len(close) - sell + buy] - 1
    return returns
