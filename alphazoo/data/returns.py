"""Forward returns: what a holding of a stock earns after the score is known."""

from typing import Protocol

import torch
from torch import Tensor

from alphazoo.errors import InputError


class Holding(Protocol):
    """When a stock is bought and sold: what `alphazoo.data.labels.Label` says of it."""

    @property
    def buy(self) -> int:
        """Trading days from the score to the purchase, at least 1."""
        ...

    @property
    def sell(self) -> int:
        """Trading days from the score to the sale."""
        ...


def forward_return(close: Tensor, *, buy: int, sell: int) -> Tensor:
    """Return of buying at the close ``buy`` days ahead and selling at the close of ``sell``.

    The score of day t is known after its close, so the first price one can trade at is that of
    day t + 1: ``buy=1, sell=2`` is the label of Qlib's benchmarks.

    Args:
        close: [D, S], adjusted prices in the market's currency; NaN where a stock does not trade.
        buy: Trading days from the score to the purchase.
        sell: Trading days from the score to the sale.

    Returns:
        [D, S], a fraction per holding period (0.01 is one per cent); NaN for the last ``sell``
        days and wherever a price is missing.

    Raises:
        InputError: ``buy`` is below 1, which trades before the score is known, or ``sell`` is not
            after ``buy`` or beyond the history.
    """
    if not 1 <= buy < sell:
        raise InputError(f"need 1 <= buy < sell, got buy={buy}, sell={sell}")
    if sell >= len(close):
        raise InputError(f"label.sell is {sell} days ahead, but there are only {len(close)} days")
    returns = torch.full_like(close, torch.nan)
    returns[:-sell] = close[sell:] / close[buy : len(close) - sell + buy] - 1
    return returns
