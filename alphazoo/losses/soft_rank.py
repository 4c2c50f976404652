"""The rank correlation of scores and labels, with ranks that have a gradient."""

import torch
from torch import Tensor

from alphazoo.bounds import PositiveFloat
from alphazoo.losses.base import Loss
from alphazoo.losses.correlation import FLAT, moments, one_minus_correlation
from alphazoo.losses.pairs import map_rows


class SoftRank(Loss):
    """1 - the correlation of soft ranks of the scores and ranks of the labels, a soft rank IC.

    Qin, Liu and Li, "A general approximation framework for direct optimization of information
    retrieval measures", Information Retrieval 2010. https://doi.org/10.1007/s10791-009-9124-x

    The soft rank of a stock is a sum of sigmoids of differences of scores, which are divided by
    their standard deviation first. Equal labels have the mean of their ranks.

    Args:
        temperature: Width of the sigmoids, in standard deviations of the scores. The smaller it is,
            the closer are the soft ranks to ranks, and the fewer pairs have a gradient.
    """

    min_stocks = 2

    def __init__(self, *, temperature: PositiveFloat) -> None:
        self.temperature = temperature

    def compute(self, outputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Return 1 - corr(r, rank(y)), r_i = sum_j sigmoid((z_i - z_j) / temperature)."""
        variance = moments(outputs, labels, weights).score_variance
        z = outputs / (variance + FLAT).sqrt() / self.temperature

        def rows(block: slice) -> Tensor:
            return (z[block, None] - z).sigmoid() @ weights

        share = weights.sum().clamp(min=1)
        return one_minus_correlation(
            map_rows(rows, len(z)) / share, rank(labels, weights) / share, weights
        )


def rank(labels: Tensor, weights: Tensor) -> Tensor:
    """Return the weight of the smaller labels plus half that of the equal ones, [N]."""
    values, places = torch.unique(labels, return_inverse=True)
    mass = torch.zeros_like(values).index_add(0, places, weights)
    return (mass.cumsum(dim=0) - mass / 2)[places]
