"""Labels: the forward return, and its daily scaling for learning."""

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from alphazoo.data.concepts import Concepts
from alphazoo.data.neutral import residuals
from alphazoo.data.ranks import percentile_ranks, scaled_ranks
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

    In this order: the most extreme returns are cut or left out, those of the concepts taken off,
    the rest scaled. IC is always on the raw return.

    Attributes:
        buy: Trading days from the score to the purchase, at least 1.
        sell: Trading days from the score to the sale.
        scale: ``"rank"``: (percentile rank - 0.5) * 3.46, close to unit variance; ``"zscore"``:
            minus the day's mean, by its standard deviation; ``"raw"``: the return itself.
        winsorize: Share of the day's stocks at either end whose returns are set to the quantile
            there, 0 to below 0.5.
        drop_extreme: Share of the day's stocks, half of it at either end, that have no label: they
            are scored, but nothing is learnt from their return. MASTER takes 0.05.
        neutral: The label is what the concepts of the day do not explain: the residual of the
            returns regressed on the memberships. With one sector per stock, the return minus the
            mean of its sector. Stocks without a concept are a group of their own.
    """

    buy: int
    sell: int
    scale: str
    winsorize: float = 0.0
    drop_extreme: float = 0.0
    neutral: bool = False

    def __post_init__(self) -> None:
        check_choice("label.scale", self.scale, SCALES)
        if not 1 <= self.buy < self.sell:
            raise InputError(f"need 1 <= label.buy < label.sell, got {self.buy} and {self.sell}")
        if not 0 <= self.winsorize < 0.5:
            raise InputError(f"label.winsorize is from 0 to below 0.5, got {self.winsorize}")
        if not 0 <= self.drop_extreme < 1:
            raise InputError(f"label.drop_extreme is from 0 to below 1, got {self.drop_extreme}")

    def returns(self, close: Tensor) -> Tensor:
        """[D, S], the raw forward return, for IC."""
        return forward_return(close, buy=self.buy, sell=self.sell)

    def scaled(self, returns: Tensor, present: Tensor, concepts: Concepts) -> Tensor:
        """[D, S], the label for learning; NaN where the return is or the stock is not present.

        Args:
            returns: [D, S], raw.
            present: [D, S] bool: each day is scaled among these stocks alone.
            concepts: What ``neutral`` takes off.

        Raises:
            InputError: ``neutral`` without concepts.
        """
        if self.neutral and not concepts.names:
            raise InputError("label.neutral needs concepts: set data.concepts, such as a table")
        labels = torch.where(present & returns.isfinite(), returns, torch.nan)
        if self.winsorize or self.drop_extreme:
            for block in torch.split(labels, BLOCK):  # views: filled in place
                block.copy_(self._tame(block))
        if self.neutral:
            labels = residuals(labels, concepts)
        for block in torch.split(labels, BLOCK):
            block.copy_(self._scale(block))
        return labels

    def _tame(self, x: Tensor) -> Tensor:
        """Cut or leave out the extremes of each day."""
        if self.winsorize:
            ends = torch.tensor([self.winsorize, 1 - self.winsorize], dtype=x.dtype)
            low, high = x.nanquantile(ends, dim=1, keepdim=True)
            x = torch.minimum(torch.maximum(x, low), high)
        if self.drop_extreme:
            middle = (percentile_ranks(x) - 0.5 / x.isfinite().sum(dim=1, keepdim=True) - 0.5).abs()
            x = torch.where(middle <= (1 - self.drop_extreme) / 2, x, torch.nan)
        return x

    def _scale(self, x: Tensor) -> Tensor:
        if self.scale == "rank":
            return scaled_ranks(x)
        if self.scale == "zscore":
            days = pd.DataFrame(x.double().numpy())
            centred = days.sub(days.mean(axis=1), axis=0)
            scaled = centred.div(days.std(axis=1) + 1e-12, axis=0)
            return torch.tensor(scaled.to_numpy())  # a copy: that of pandas is read-only
        return x
