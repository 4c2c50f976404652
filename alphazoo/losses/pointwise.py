"""Losses of one stock at a time: the weighted mean over the stocks of a day."""

import math

from torch import Tensor
from torch.nn import functional as F

from alphazoo.bounds import PositiveFloat, Share
from alphazoo.losses.base import Loss, weighted_mean


class MSE(Loss):
    """The squared error; its minimum is the conditional mean of the label."""

    def compute(self, outputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Return the mean of (score - label)^2."""
        return weighted_mean((outputs - labels).square(), weights)


class Huber(Loss):
    """Half the squared error up to ``delta``, linear beyond, so that outliers count less.

    Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 1964.
    https://doi.org/10.1214/aoms/1177703732

    Args:
        delta: Absolute error, in the unit of the label, from which on the loss is linear.
    """

    def __init__(self, *, delta: PositiveFloat) -> None:
        self.delta = delta

    def compute(self, outputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Return the mean of e^2 / 2, or of delta (e - delta / 2) for an error e beyond delta."""
        errors = F.huber_loss(outputs, labels, reduction="none", delta=self.delta)
        return weighted_mean(errors, weights)


class Quantile(Loss):
    """The pinball loss; its minimum is a conditional quantile of the label.

    Koenker and Bassett, "Regression quantiles", Econometrica 1978.
    https://doi.org/10.2307/1913643

    Args:
        level: Level of the quantile; 0.5 is the median, and the loss half the absolute error.
    """

    def __init__(self, *, level: Share) -> None:
        self.level = level

    def compute(self, outputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Return the mean of max(level e, (level - 1) e), where e = label - score."""
        errors = labels - outputs
        pinball = (self.level * errors).maximum((self.level - 1) * errors)
        return weighted_mean(pinball, weights)


class GaussianNLL(Loss):
    """The negative log-likelihood of a normal distribution whose variance the model gives, too.

    Nix and Weigend, "Estimating the mean and variance of the target probability distribution",
    ICNN 1994. https://doi.org/10.1109/ICNN.1994.374138

    The outputs of a stock are the mean and the logarithm of the variance.
    """

    n_outputs = 2

    def compute(self, outputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Return the mean of (log 2 pi + s + (label - mean)^2 exp(-s)) / 2."""
        mean, s = outputs.unbind(1)
        nll = (math.log(2 * math.pi) + s + (labels - mean).square() * (-s).exp()) / 2
        return weighted_mean(nll, weights)
