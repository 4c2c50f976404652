"""Losses of one stock at a time: the weighted mean over the stocks of a day."""

from torch import Tensor

from alphazoo.losses.base import Loss, weighted_mean


class MSE(Loss):
    """The mean squared error; predicts the mean of the label."""

    def compute(self, outputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted mean of (score - label)^2."""
        return weighted_mean((outputs - labels).square(), weights)
