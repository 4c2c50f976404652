"""HIST: information that stocks share through predefined and hidden concepts.

Xu et al., "HIST: a graph-based framework for stock trend forecasting via mining concept-oriented
shared information", 2021. https://arxiv.org/abs/2110.13716
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alphazoo.bounds import NonNegativeFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch
from alphazoo.errors import InputError
from alphazoo.models.base import StockModel
from alphazoo.models.cosine import cosines
from alphazoo.models.encoder import Encoder
from alphazoo.models.head import Head
from alphazoo.models.probe import Probe


class HIST(StockModel):
    """A linear head on the sum of three parts of a stock's hidden state h.

    Let x be the hidden states that are not yet explained, initially h. Each of the first two parts
    computes concepts e_k from their members, lets every stock read all concepts, and subtracts
    what they explain::

        e_k = sum_n w_nk x_n;  info = W softmax_k(cos(x_n, e_k)) e;  part = LeakyReLU(W_f info)
        x <- x - W_b info

    1. predefined concepts, with w_nk = c_nk / (sum_n c_nk + 1), where c is the membership;
    2. hidden concepts: each stock defines one, whose members are the stock itself and all stocks
       to which it is the most similar one, weighted by the cosine;
    3. the individual part: LeakyReLU(W_i x).

    As in Qlib's benchmark, all memberships have equal weight and each stock joins one hidden
    concept. ``weighted`` uses the weights of the concepts instead (the authors use market values),
    ``own_concepts`` lets a stock read only the concepts that it belongs to, and ``neighbours`` lets
    it join several hidden concepts. Qlib's network cannot run on a CPU, and it gives a stock
    missing from its map the concepts of another stock; here such a stock has no concepts and reads
    those of the others. Four layers that Qlib creates but never uses are omitted.

    Args:
        n_features: F, number of features per day.
        cell: ``"lstm"`` or ``"gru"``.
        hidden_size: H, width of the encoder and of all later layers.
        num_layers: Number of recurrent layers.
        dropout: Dropout rate between the recurrent layers.
        weighted: Weight the members by ``DayBatch.concepts`` instead of equally.
        own_concepts: A stock reads only the predefined concepts that it belongs to. Without this,
            the cosine identifies a stock's sector only if the stock's window reveals it.
        neighbours: Number of hidden concepts that a stock joins besides its own.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

    differentiable = False  # a stock joins the hidden concepts of the most similar stocks

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        cell: str,
        hidden_size: PositiveInt,
        num_layers: PositiveInt,
        dropout: Probability,
        weighted: bool,
        own_concepts: bool,
        neighbours: int,
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        if neighbours < 1:
            raise InputError(f"model.neighbours must be at least 1, got {neighbours}")
        self.encoder = Encoder(
            cell=cell,
            n_features=n_features,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
        )
        self.weighted = weighted
        self.own_concepts = own_concepts
        self.neighbours = neighbours
        self.known = _Shared(hidden_size)
        self.hidden = _Shared(hidden_size)
        self.known_concepts = Probe("concepts", "stock", "concept", shares=True)
        self.members = Probe("concepts", "concept", "other")
        self.hidden_concepts = Probe("concepts", "stock", "other", shares=True)
        self.own = _linear(hidden_size)
        self.head = Head(hidden_size)
        self.terms = Probe("terms", "stock", "term", terms=("concepts", "hidden concepts", "own"))

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]; the stocks are scored jointly.

        Raises:
            InputError: The data have no concepts.
        """
        x = self.encoder(day.features)[:, -1]  # [N, H]
        concepts, used = self._gather_known(x, day)
        weights = self.known_concepts(_read_weights(x, concepts, used))  # [N, C]
        known, taken = self.known(x, concepts, weights)
        x = x - taken
        similar = self._similar(x.detach())  # [N, k], the hidden concepts that a stock joins
        concepts, used = self._gather_hidden(x, similar)
        weights = self.hidden_concepts(_read_weights(x, concepts, used))  # [N, N]
        hidden, taken = self.hidden(x, concepts, weights)
        x = x - taken
        own = F.leaky_relu(self.own(x))
        if self.terms.observed:  # without the bias
            parts = torch.stack([known, hidden, own], dim=1)  # [N, 3, H]
            self.terms(F.linear(parts, self.head.weight).squeeze(2))
        scores: Tensor = self.head(known + hidden + own)
        return scores.squeeze(-1)

    def _gather_known(self, x: Tensor, day: DayBatch) -> tuple[Tensor, Tensor]:
        """Return the predefined concepts [C, H] and a mask of those that a stock reads.

        The mask is [C], the concepts with members, or [N, C], the concepts of each stock.
        """
        weights = day.memberships
        members = weights > 0
        if not self.weighted:
            weights = members.to(weights.dtype)
        shares = self.members((weights / (weights.sum(dim=0) + 1)).T)  # [C, N]
        concepts = shares @ x
        return concepts, members if self.own_concepts else members.any(dim=0)

    def _similar(self, x: Tensor) -> Tensor:
        """Return the k stocks most similar to each stock, [N, k]."""
        itself = torch.eye(x.shape[0], dtype=torch.bool, device=x.device)
        # 0 as in the reference: a negative cosine is no neighbour
        similarity = cosines(x, x).masked_fill(itself, 0.0)
        return similarity.topk(min(self.neighbours, x.shape[0]), dim=1).indices

    def _gather_hidden(self, x: Tensor, similar: Tensor) -> tuple[Tensor, Tensor]:
        """Return hidden concepts [N, H], one per stock, and a mask [N] of those with members."""
        norm = x.norm(dim=1)
        other = x[similar]  # [N, k, H]
        cosine = (x.unsqueeze(1) * other).sum(dim=2) / (norm.unsqueeze(1) * norm[similar] + 1e-6)
        itself = similar == torch.arange(x.shape[0], device=x.device).unsqueeze(1)
        joined = (cosine > 0) & ~itself
        cosine = cosine.where(joined, 0.0)
        into = similar.flatten()
        concepts = torch.zeros_like(x).index_add(
            0, into, (cosine.unsqueeze(2) * x.unsqueeze(1)).flatten(0, 1)
        )
        count = cosine.new_zeros(x.shape[0]).index_add(0, into, joined.flatten().to(cosine.dtype))
        joins_itself = (count > 0) * norm.square() / (norm.square() + 1e-6)
        return concepts + joins_itself.unsqueeze(1) * x, count > 0


class _Shared(nn.Module):
    """The information that stocks read from concepts, and the part of the stocks it explains."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.info = _linear(size)
        self.score = _linear(size)
        self.explain = _linear(size)

    def forward(self, x: Tensor, concepts: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the part that enters the score and the part explained, both [N, H].

        Args:
            x: [N, H], the hidden states that are not yet explained.
            concepts: [K, H].
            weights: [N, K], with which a stock reads the concepts.
        """
        info = self.info(weights @ concepts)
        return F.leaky_relu(self.score(info)), self.explain(info)


def _read_weights(x: Tensor, concepts: Tensor, used: Tensor) -> Tensor:
    """Return the softmax over the concepts that a stock reads, [N, K]; all 0 if it reads none.

    Args:
        x: [N, H], the hidden states that are not yet explained.
        concepts: [K, H].
        used: [K] or [N, K], mask of the concepts that a stock reads.
    """
    weights = cosines(x, concepts).exp() * used  # cosines are bounded: exp cannot overflow
    return weights / weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)


def _linear(size: int) -> nn.Linear:
    layer = nn.Linear(size, size)
    nn.init.xavier_uniform_(layer.weight)
    return layer
