"""Labels: the forward return, scaled within each day for training."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from alphazoo.bounds import PositiveFloat
from alphazoo.data.neutral import residuals
from alphazoo.data.ranks import percentile_ranks, scaled_ranks
from alphazoo.errors import InputError, check_choice
from alphazoo.market.concepts import Concepts
from alphazoo.market.returns import forward_return

SCALES = ("rank", "zscore", "raw")
BLOCK = 250  # number of days scaled at a time, to bound the memory of ranking


@dataclass(frozen=True)
class Label:
    """The training target, the forward return scaled within each day, and its weight in the loss.

    Extreme returns are first clipped or dropped; then the returns are neutralised and scaled. The
    IC is always computed from the raw return.

    Attributes:
        buy: Trading days from the score to the purchase, at least 1.
        sell: Trading days from the score to the sale.
        scale: ``"rank"``: (percentile rank - 0.5) * 3.46, which has about unit variance;
            ``"zscore"``: subtract the day's mean, divide by its standard deviation; ``"raw"``: no
            scaling.
        winsorize: Share of the day's stocks at each end whose returns are clipped to the quantile
            there, at least 0 and below 0.5.
        drop_extreme: Share of the day's stocks that get no label, half of it at each end. They are
            scored, but do not enter the loss. MASTER uses 0.05.
        neutral: Whether to replace the returns by the residuals of their regression on the day's
            memberships in concepts. With one sector per stock, this is the return minus the mean of
            the sector. Stocks without a concept form a group of their own.
        horizons: Pairs of a purchase and a sale day. If there are any, models learn from the label
            of each of them; ``buy`` and ``sell`` remain those of the return from which the IC and
            the backtest are computed.
        half_life: Trading days after which the weight of a training day halves, counted back from
            the last training day; None for equal weights.
        weight: Field of the market whose value on a day is the weight of a stock on it, such as
            the market value; None for equal weights.
    """

    buy: int
    sell: int
    scale: str
    winsorize: float = 0.0
    drop_extreme: float = 0.0
    neutral: bool = False
    horizons: Sequence[Sequence[int]] = ()
    half_life: PositiveFloat | None = None
    weight: str | None = None

    def __post_init__(self) -> None:
        check_choice("label.scale", self.scale, SCALES)
        if not 1 <= self.buy < self.sell:
            raise InputError(f"need 1 <= label.buy < label.sell, got {self.buy} and {self.sell}")
        if not 0 <= self.winsorize < 0.5:
            raise InputError(f"need 0 <= label.winsorize < 0.5, got {self.winsorize}")
        if not 0 <= self.drop_extreme < 1:
            raise InputError(f"need 0 <= label.drop_extreme < 1, got {self.drop_extreme}")
        for horizon in self.horizons:
            if len(horizon) != 2 or not 1 <= horizon[0] < horizon[1]:
                raise InputError(
                    f"label.horizons={[*self.horizons]}: expected pairs [buy, sell] with "
                    f"1 <= buy < sell, got {horizon}"
                )
        if len({*map(tuple, self.horizons)}) < len(self.horizons):
            raise InputError(f"label.horizons={[*self.horizons]}: a horizon is given twice")

    @property
    def reach(self) -> int:
        """Trading days from the score to the last day whose price a label uses."""
        return max(self.sell, *(sell for _, sell in self.horizons), 0)

    def returns(self, close: Tensor) -> Tensor:
        """Return the raw forward return, [D, S], from which the IC is computed."""
        return forward_return(close, buy=self.buy, sell=self.sell)

    def target_returns(self, close: Tensor) -> Tensor:
        """Return the raw forward return by horizon, [L, D, S]; L = 0 without ``horizons``."""
        returns = [forward_return(close, buy=buy, sell=sell) for buy, sell in self.horizons]
        return torch.stack(returns) if returns else close.new_empty(0, *close.shape)

    def targets(self, returns: Tensor, present: Tensor, concepts: Concepts) -> Tensor:
        """Return the labels by horizon, [L, D, S], from ``target_returns``; see `scaled`."""
        labels = [self.scaled(each, present, concepts) for each in returns]
        return torch.stack(labels) if labels else returns

    def scaled(self, returns: Tensor, present: Tensor, concepts: Concepts) -> Tensor:
        """Return the labels for training, [D, S]; NaN for missing returns and absent stocks.

        Args:
            returns: [D, S], the raw forward return.
            present: [D, S] bool, the stocks of each day; only they enter the scaling.
            concepts: The memberships for ``neutral``.

        Raises:
            InputError: ``neutral`` is set, but there are no concepts.
        """
        if self.neutral and not concepts.names:
            raise InputError("label.neutral needs concepts: set data.concepts, such as a table")
        labels = torch.where(present & returns.isfinite(), returns, torch.nan)
        if self.winsorize or self.drop_extreme:
            for block in torch.split(labels, BLOCK):  # views, filled in place
                block.copy_(self._limit_extremes(block))
        if self.neutral:
            labels = residuals(labels, concepts)
        for block in torch.split(labels, BLOCK):
            block.copy_(self._scale(block))
        return labels

    def _limit_extremes(self, x: Tensor) -> Tensor:
        """Clip and drop the extreme values of each day."""
        if self.winsorize:
            ends = torch.tensor([self.winsorize, 1 - self.winsorize], dtype=x.dtype)
            low, high = x.nanquantile(ends, dim=1, keepdim=True)
            x = torch.minimum(torch.maximum(x, low), high)
        if self.drop_extreme:
            # ranks are shifted by half a step, so that they are symmetric around 0.5
            ranks = percentile_ranks(x) - 0.5 / x.isfinite().sum(dim=1, keepdim=True)
            x = torch.where((ranks - 0.5).abs() <= (1 - self.drop_extreme) / 2, x, torch.nan)
        return x

    def _scale(self, x: Tensor) -> Tensor:
        if self.scale == "rank":
            return scaled_ranks(x)
        if self.scale == "zscore":
            days = pd.DataFrame(x.double().numpy())
            centred = days.sub(days.mean(axis=1), axis=0)
            scaled = centred.div(days.std(axis=1) + 1e-12, axis=0)
            return torch.tensor(scaled.to_numpy())  # copied, because pandas' array is read-only
        return x
