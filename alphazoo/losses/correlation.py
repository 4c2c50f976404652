"""Losses of the correlation of scores and labels across the stocks of a day."""

from typing import NamedTuple

import torch
from torch import Tensor

from alphazoo.bounds import NonNegativeFloat
from alphazoo.losses.base import Loss, weighted_mean

FLAT = 1e-8  # added to the variance of the scores: a day of equal scores has a finite gradient


class Moments(NamedTuple):
    """Weighted moments of scores and labels, [] each; the variances divide by n, not n - 1."""

    score_mean: Tensor
    label_mean: Tensor
    score_variance: Tensor
    label_variance: Tensor
    covariance: Tensor


def moments(scores: Tensor, labels: Tensor, weights: Tensor) -> Moments:
    """Return the weighted moments of scores and labels [N]."""
    score_mean, label_mean = weighted_mean(scores, weights), weighted_mean(labels, weights)
    p, y = scores - score_mean, labels - label_mean
    return Moments(
        score_mean,
        label_mean,
        weighted_mean(p.square(), weights),
        weighted_mean(y.square(), weights),
        weighted_mean(p * y, weights),
    )


def one_minus_correlation(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return 1 - weighted correlation, []; 0 if all labels are equal, which rank no stock."""
    m = moments(scores, labels, weights)
    tiny = torch.finfo(labels.dtype).tiny
    deviation = m.label_variance.clamp(min=tiny).sqrt() * (m.score_variance + FLAT).sqrt()
    return (1 - m.covariance / deviation).where(m.label_variance > 0, 0 * m.covariance)


class IC(Loss):
    """1 - the correlation of scores and labels, the IC of the label.

    It does not depend on the scale of the scores, so ``val/loss``, the MSE, says nothing about the
    model. A day whose labels are all equal has a loss of 0.
    """

    min_stocks = 2

    def compute(self, outputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Return 1 - cov(p, y) / (sd(y) sqrt(var(p) + 1e-8))."""
        return one_minus_correlation(outputs, labels, weights)


class CCC(Loss):
    """1 - the concordance correlation, which also rewards the right mean and scale.

    Lin, "A concordance correlation coefficient to evaluate reproducibility", Biometrics 1989.
    https://doi.org/10.2307/2532051
    """

    min_stocks = 2

    def compute(self, outputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Return 1 - 2 cov(p, y) / (var(p) + var(y) + (mean(p) - mean(y))^2)."""
        m = moments(outputs, labels, weights)
        spread = m.score_variance + m.label_variance + (m.score_mean - m.label_mean).square()
        ccc = 2 * m.covariance / spread.clamp(min=torch.finfo(labels.dtype).tiny)
        return (1 - ccc).where(m.label_variance > 0, 0 * spread)


class Mixed(Loss):
    """The squared error plus a multiple of 1 - the correlation.

    Args:
        alpha: Weight of 1 - the correlation.
    """

    min_stocks = 2

    def __init__(self, *, alpha: NonNegativeFloat) -> None:
        self.alpha = alpha

    def compute(self, outputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Return mse + alpha (1 - correlation)."""
        mse = weighted_mean((outputs - labels).square(), weights)
        return mse + self.alpha * one_minus_correlation(outputs, labels, weights)
