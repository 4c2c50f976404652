"""FactorVAE: a dynamic factor model whose factors are learned by a variational autoencoder.

Duan et al., "FactorVAE: a probabilistic dynamic factor model based on variational autoencoder for
predicting cross-sectional stock returns", AAAI 2022. https://doi.org/10.1609/aaai.v36i4.20369
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alphazoo.bounds import NonNegativeFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch
from alphazoo.errors import check_choice
from alphazoo.losses.base import weighted_mean
from alphazoo.models.base import StockModel
from alphazoo.models.encoder import Encoder
from alphazoo.models.head import Head
from alphazoo.models.probe import Probe

SMALLEST = 1e-4  # of a standard deviation, so that its logarithm is finite


class Gaussian(NamedTuple):
    """Independent normal distributions.

    Attributes:
        mean: Means.
        deviation: Standard deviations, of the same shape.
    """

    mean: Tensor
    deviation: Tensor

    def divergence(self, other: "Gaussian") -> Tensor:
        """Return the Kullback-Leibler divergence of this from another distribution, summed, []."""
        ratio = self.deviation / other.deviation
        shift = (self.mean - other.mean) / other.deviation
        return ((ratio.square() + shift.square() - 1) / 2 - ratio.log()).sum()


class GaussianHead(nn.Module):
    """Linear layers for the mean and the standard deviation of normal distributions.

    Args:
        n_inputs: Number of inputs.
        n_outputs: Number of distributions.
    """

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.mean = Head(n_inputs, n_outputs)
        self.deviation = Head(n_inputs, n_outputs)

    def forward(self, x: Tensor) -> Gaussian:
        """Return the distributions, of shape [..., ``n_outputs``]."""
        return Gaussian(self.mean(x), F.softplus(self.deviation(x)).clamp(min=SMALLEST))


class FactorVAE(StockModel):
    """The mean return of a stock in a model of K factors that are predicted for each day.

    A stock's state e [H] is the last state of a GRU over its window, after layer norm and a layer.
    The factors z [K] and the idiosyncratic return alpha of each stock are normal::

        prior:      z ~ N from K attention heads over the states of all stocks
        posterior:  z ~ N from the returns of n_portfolios portfolios, softmax over stocks of V e
        decoder:    return = alpha(e) + beta(e) z, normal given the distribution of z
        loss = -log likelihood of the labels under the posterior, mean over stocks
               + gamma KL(posterior, prior)

    The score is the mean under the prior. The posterior reads the labels, so it is part of the loss
    only. The likelihood is that of the paper; the open implementations take the squared error of
    one sample instead. The paper weights stocks by the positive part of the
    cosine of a head's query and the stock's key (``attention="cosine"``); the open implementations
    by a softmax of the positive part of their scaled dot product. The layer norm is theirs, too.

    Args:
        n_features: F, number of features per day.
        hidden_size: H, width of the GRU and of the heads.
        n_factors: K, number of factors.
        n_portfolios: Number of portfolios that the posterior looks at.
        attention: ``"softmax"`` or ``"cosine"``, the weights of the stocks in the prior.
        dropout: Dropout rate of the logits of the attention.
        gamma: Weight of the divergence of the posterior from the prior.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

    fixed_loss = True

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        hidden_size: PositiveInt,
        n_factors: PositiveInt,
        n_portfolios: PositiveInt,
        attention: str,
        dropout: Probability,
        gamma: NonNegativeFloat,
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        check_choice("model.attention", attention, ("softmax", "cosine"))
        self.attention = attention
        self.dropout = dropout
        self.gamma = gamma
        self.input = nn.Sequential(
            nn.LayerNorm(n_features), nn.Linear(n_features, n_features), nn.LeakyReLU()
        )
        self.encoder = Encoder(
            cell="gru", n_features=n_features, hidden_size=hidden_size, num_layers=1, dropout=0.0
        )
        self.portfolios = nn.Linear(hidden_size, n_portfolios)
        self.posterior = GaussianHead(n_portfolios, n_factors)
        self.query = nn.Parameter(torch.randn(n_factors, hidden_size))
        self.key = nn.Linear(hidden_size, n_factors * hidden_size)
        self.value = nn.Linear(hidden_size, n_factors * hidden_size)
        self.prior_layer = nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.LeakyReLU())
        self.prior = GaussianHead(hidden_size, 1)
        self.alpha_layer = nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.LeakyReLU())
        self.alpha = GaussianHead(hidden_size, 1)
        self.beta = nn.Linear(hidden_size, n_factors)
        self.factor_attention = Probe("factors", "factor", "other", shares=True)
        self.factor_means = Probe("factors", "factor")
        self.factor_deviations = Probe("factors", "factor")
        self.exposures = Probe("factors", "stock", "factor")
        self.deviations = Probe("factors", "stock")
        names = ["alpha", *(f"factor {k}" for k in range(n_factors))]
        self.terms = Probe("terms", "stock", "term", terms=names)

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]; the stocks are scored jointly."""
        e = self._encode(day)
        return self._decode(e, self._predict_factors(e)).mean

    def loss(self, day: DayBatch) -> Tensor:
        """Return the negative evidence lower bound of a day, []; 0 without labels."""
        e = self._encode(day)
        known = day.labels.isfinite()
        labels = day.labels.nan_to_num()
        posterior = self._infer_factors(e, labels, known)
        returns = self._decode(e, posterior)
        z = (labels - returns.mean) / returns.deviation
        nll = returns.deviation.log() + (z.square() + math.log(2 * math.pi)) / 2
        fit = weighted_mean(nll, known.to(nll.dtype))
        divergence = posterior.divergence(self._predict_factors(e))
        return (fit + self.gamma * divergence) * known.any()

    def uncertainty(self, day: DayBatch) -> Tensor:
        """Return the standard deviation of each stock's return, [N], in units of the label."""
        e = self._encode(day)
        return self._decode(e, self._predict_factors(e)).deviation

    def _encode(self, day: DayBatch) -> Tensor:
        states: Tensor = self.encoder(self.input(day.features))[:, -1]
        return states  # [N, H]

    def _infer_factors(self, e: Tensor, labels: Tensor, known: Tensor) -> Gaussian:
        """Return the posterior of the factors, [K] each; stocks without a label are left out."""
        logits = self.portfolios(e)  # [N, portfolios]
        logits = logits.masked_fill(~known.unsqueeze(1), torch.finfo(logits.dtype).min)
        inferred: Gaussian = self.posterior(labels @ logits.softmax(dim=0))
        return inferred

    def _predict_factors(self, e: Tensor) -> Gaussian:
        """Return the prior of the factors, [K] each."""
        shape = (e.shape[0], *self.query.shape)
        keys, values = self.key(e).view(shape), self.value(e).view(shape)  # [N, K, H]
        weights = self.factor_attention(self._weights(keys).T).T
        context = (weights.unsqueeze(2) * values).sum(dim=0)  # [K, H]
        prior = self.prior(self.prior_layer(context))
        return Gaussian(prior.mean.squeeze(1), prior.deviation.squeeze(1))

    def _weights(self, keys: Tensor) -> Tensor:
        """Return the weight of each stock in each head, [N, K]."""
        if self.attention == "cosine":
            cosines = F.cosine_similarity(keys, self.query, dim=2)
            positive = F.dropout(cosines, self.dropout, self.training).relu()
            return positive / positive.sum(dim=0).clamp(min=SMALLEST)
        logits = (keys * self.query).sum(dim=2) / math.sqrt(keys.shape[2])
        return F.dropout(logits, self.dropout, self.training).relu().softmax(dim=0)

    def _decode(self, e: Tensor, factors: Gaussian) -> Gaussian:
        """Return the distribution of each stock's return, [N] each."""
        alpha, beta = self.alpha(self.alpha_layer(e)), self.exposures(self.beta(e))
        factors = Gaussian(
            self.factor_means(factors.mean), self.factor_deviations(factors.deviation)
        )
        if self.terms.observed:
            self.terms(torch.cat([alpha.mean, beta * factors.mean], dim=1))  # [N, 1 + K]
        mean = alpha.mean.squeeze(1) + beta @ factors.mean
        variance = alpha.deviation.squeeze(1).square() + beta.square() @ factors.deviation.square()
        return Gaussian(mean, self.deviations(variance.sqrt()))
