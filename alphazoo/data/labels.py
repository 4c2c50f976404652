"""Labels: the forward return, and its daily scaling for learning."""

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from alphazoo.errors import InputError, check_choice

SCALES = ("rank", "zscore", "raw")
BLOCK = 250  # days scaled at a time: bounds the memory of ranking


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


@dataclass(frozen=True)
class Label:
    """What a model learns: the forward return, scaled among the stocks of the day.

    Attributes:
        buy: Trading days from the score to the purchase, at least 1.
        sell: Trading days from the score to the sale.
        scale: ``"rank"``: (percentile rank - 0.5) * 3.46, close to unit variance; ``"zscore"``:
            minus the day's mean, by its standard deviation; ``"raw"``: the return itself.
    """

    buy: int
    sell: int
    scale: str

    def __post_init__(self) -> None:
        check_choice("label.scale", self.scale, SCALES)
        if not 1 <= self.buy < self.sell:
            raise InputError(f"need 1 <= label.buy < label.sell, got {self.buy} and {self.sell}")

    def returns(self, close: Tensor) -> Tensor:
        """[D, S], the raw forward return, for IC."""
        return forward_return(close, buy=self.buy, sell=self.sell)

    def scaled(self, returns: Tensor, present: Tensor) -> Tensor:
        """[D, S], the label for learning; NaN where the return is or the stock is not present.

        Args:
            returns: [D, S], raw.
            present: [D, S] bool: each day is scaled among these stocks alone.
        """
        labels = torch.where(present & returns.isfinite(), returns, torch.nan)
        for block in torch.split(labels, BLOCK):  # views: filled in place
            block.copy_(self._scale(block))
        return labels

    def _scale(self, x: Tensor) -> Tensor:
        if self.scale == "rank":
            ranks = pd.DataFrame(x.numpy()).rank(axis=1, pct=True)
            return torch.from_numpy((ranks.to_numpy() - 0.5) * 3.46)
        if self.scale == "zscore":
            days = pd.DataFrame(x.double().numpy())
            centred = days.sub(days.mean(axis=1), axis=0)
            scaled = centred.div(days.std(axis=1) + 1e-12, axis=0)
            return torch.from_numpy(scaled.to_numpy())
        return x
