"""Losses of pairs of stocks: the weighted mean over pairs of the day, in blocks of rows.

The weight of a pair is the product of the weights of its stocks.
"""

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from alphazoo.bounds import NonNegativeFloat, PositiveFloat
from alphazoo.losses.base import Loss, weighted_mean
from alphazoo.losses.pairs import map_rows


class OrderedPairs(Loss):
    """The mean of a function of the difference of scores over all pairs with unequal labels."""

    min_stocks = 2

    @abstractmethod
    def penalty(self, differences: Tensor) -> Tensor:
        """Return the loss of pairs.

        Args:
            differences: Score of the stock of the higher label - score of the other, any shape.
        """

    def compute(self, outputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted mean of the penalty over all pairs with unequal labels."""

        def sums(block: slice) -> Tensor:
            higher = labels[block, None] > labels  # [B, N]
            pairs = weights[block, None] * weights * higher
            penalties: Tensor = self.penalty(outputs[block, None] - outputs)
            return torch.stack([(pairs * penalties).sum(dim=1), pairs.sum(dim=1)], dim=1)

        total, weight = map_rows(sums, len(labels)).sum(dim=0)
        mean: Tensor = total / weight.clamp(min=torch.finfo(weight.dtype).tiny)
        return mean


class PairwiseHinge(OrderedPairs):
    """Asks that the stock of the higher label is scored higher by a margin.

    Herbrich et al., "Large margin rank boundaries for ordinal regression", 2000.

    Args:
        margin: Difference of two scores from which on a pair has no loss.
    """

    def __init__(self, *, margin: PositiveFloat) -> None:
        self.margin = margin

    def penalty(self, differences: Tensor) -> Tensor:
        """Return max(margin - difference, 0)."""
        return (self.margin - differences).relu()


class RankNet(OrderedPairs):
    """The cross entropy of the order of two stocks under a logistic model of their scores.

    Burges et al., "Learning to rank using gradient descent", ICML 2005.
    https://doi.org/10.1145/1102351.1102363

    Args:
        sigma: Factor of the difference of two scores.
    """

    def __init__(self, *, sigma: PositiveFloat) -> None:
        self.sigma = sigma

    def penalty(self, differences: Tensor) -> Tensor:
        """Return log(1 + exp(-sigma difference))."""
        return F.softplus(-self.sigma * differences)


class MSEPairwise(Loss):
    """The squared error plus a penalty on pairs that are scored in the wrong order.

    Feng et al., "Temporal relational ranking for stock prediction", TOIS 2019.
    https://arxiv.org/abs/1809.09441

    The penalty alone would be 0 for equal scores. The paper adds up the pairs; the penalty here is
    the mean over all N^2 pairs, as in its code, so that it does not depend on the number of stocks.

    Args:
        alpha: Weight of the penalty.
    """

    min_stocks = 2

    def __init__(self, *, alpha: NonNegativeFloat) -> None:
        self.alpha = alpha

    def compute(self, outputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Return mse + alpha mean_ij max(-(p_i - p_j)(y_i - y_j), 0)."""

        def wrong(block: slice) -> Tensor:
            products = (outputs[block, None] - outputs) * (labels[block, None] - labels)
            return (weights * (-products).relu()).sum(dim=1)

        mse = weighted_mean((outputs - labels).square(), weights)
        rows = map_rows(wrong, len(labels)) / weights.sum().clamp(min=1)
        return mse + self.alpha * weighted_mean(rows, weights)
