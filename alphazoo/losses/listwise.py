"""Losses of the whole list of a day's stocks, as in learning to rank.

A stock of weight w counts as w stocks of the same score.
"""

import torch
from torch import Tensor

from alphazoo.bounds import PositiveFloat
from alphazoo.losses.base import Loss, weighted_mean


class ListNet(Loss):
    """The cross entropy of two distributions over the stocks, the softmax of labels and scores.

    Cao et al., "Learning to rank: from pairwise approach to listwise approach", ICML 2007, with
    the probability of being first. https://doi.org/10.1145/1273496.1273513

    Args:
        temperature: Divides the labels. The smaller it is, the more the best stocks count.
    """

    min_stocks = 2

    def __init__(self, *, temperature: PositiveFloat) -> None:
        self.temperature = temperature

    def compute(self, outputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Return -sum_i q_i log softmax_i(p), where q = softmax(y / temperature)."""
        used = weights > 0
        p, y, w = outputs[used], labels[used], weights[used].log()
        if len(p) == 0:
            return 0 * outputs.sum()
        q = (y / self.temperature + w).softmax(dim=0)
        return (p + w).logsumexp(dim=0) - (q * p).sum()


class ListMLE(Loss):
    """The negative log-likelihood of the order of the labels under the Plackett-Luce model.

    Xia et al., "Listwise approach to learning to rank: theory and algorithm", ICML 2008.
    https://doi.org/10.1145/1390156.1390306

    The likelihood is divided by the number of stocks. Of stocks with equal labels, the first
    counts as better.
    """

    min_stocks = 2

    def compute(self, outputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Return the mean over i of log sum_{j >= i} exp(p_j) - p_i, from the best label down."""
        used = weights > 0
        if not used.any():
            return 0 * outputs.sum()
        p, y, w = outputs[used], labels[used], weights[used]
        order = y.argsort(descending=True, stable=True).flip(0)  # from the worst label up
        p, w = p[order], w[order]
        return weighted_mean(torch.logcumsumexp(p + w.log(), dim=0) - p, w)
