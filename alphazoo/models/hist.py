"""HIST: what stocks share through concepts that are known and concepts that are found.

Xu et al., "HIST: a graph-based framework for stock trend forecasting via mining concept-oriented
shared information", 2021. https://arxiv.org/abs/2110.13716
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alphazoo.bounds import NonNegativeFloat, PositiveFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch
from alphazoo.errors import InputError
from alphazoo.models.base import StockModel
from alphazoo.models.cosine import cosines
from alphazoo.models.encoder import Encoder


class HIST(StockModel):
    """A linear score of three parts of a stock's hidden state h.

    With x the hidden states still to explain (at first h), each of the first two parts makes
    concepts e_k from their members, lets every stock read all of them, and takes what it read off::

        e_k = sum_n w_nk x_n;  info = W softmax_k(cos(x_n, e_k)) e;  part = LeakyReLU(W_f info)
        x <- x - W_b info

    1. known concepts, with w_nk = c_nk / (sum_n c_nk + 1), c the membership;
    2. hidden concepts: each stock is one, its members are itself and the stocks to which it is the
       most similar, with the cosine as weight;
    3. the stock itself: LeakyReLU(W_i x).

    The reference and its differences: as in Qlib's benchmark, memberships count equally and each
    stock joins one hidden concept; ``weighted`` uses the weights of the concepts (the authors take
    market values), ``own_concepts`` lets a stock read only the concepts to which it belongs, and
    ``neighbours`` lets it join several hidden ones. Qlib's network cannot run on a CPU, and
    gives a stock outside its map the concepts of another; here such a stock has none and reads
    those of the others. Four layers that Qlib makes and never uses are left out.

    Args:
        n_features: F, features per day.
        cell: ``"lstm"`` or ``"gru"``.
        hidden_size: H, width of the encoder and of all that follows.
        num_layers: Recurrent layers.
        dropout: Between the recurrent layers.
        weighted: Members count by their weight in ``DayBatch.concepts``, not equally.
        own_concepts: A stock reads the known concepts to which it belongs, not all of them. The
            cosine finds a stock's sector only where its window shows it; this makes sure.
        neighbours: Hidden concepts that a stock joins besides its own.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

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
        lr: PositiveFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        if neighbours < 1:
            raise InputError(f"model.neighbours is 1 or more, got {neighbours}")
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
        self.own = _linear(hidden_size)
        self.head = nn.Linear(hidden_size, 1)

    def forward(self, day: DayBatch) -> Tensor:
        """Score the stocks of a day together: [N].

        Raises:
            InputError: The data have no concepts.
        """
        x = self.encoder(day.features)[:, -1]  # [N, H]
        known, taken = self.known(x, *self._gather_known(x, day))
        x = x - taken
        similar = self._similar(x.detach())  # [N, k], the hidden concepts that a stock joins
        hidden, taken = self.hidden(x, *self._gather_hidden(x, similar))
        x = x - taken
        scores: Tensor = self.head(known + hidden + F.leaky_relu(self.own(x)))
        return scores.squeeze(-1)

    def concept_weights(self, day: DayBatch) -> Tensor:
        """How much each stock reads of each known concept: [N, C], 0 for one without members."""
        x = self.encoder(day.features)[:, -1]
        return _read_weights(x, *self._gather_known(x, day))

    def _gather_known(self, x: Tensor, day: DayBatch) -> tuple[Tensor, Tensor]:
        """Known concepts [C, H], and which of them have members [C] or whose they are [N, C]."""
        weights = day.memberships
        members = weights > 0
        if not self.weighted:
            weights = members.to(weights.dtype)
        concepts = (weights / (weights.sum(dim=0) + 1)).T @ x
        return concepts, members if self.own_concepts else members.any(dim=0)

    def _similar(self, x: Tensor) -> Tensor:
        """The k stocks most similar to each: [N, k]."""
        similarity = cosines(x, x)
        similarity.fill_diagonal_(0)  # as the reference does: an opposite is no neighbour
        return similarity.topk(min(self.neighbours, len(x)), dim=1).indices

    def _gather_hidden(self, x: Tensor, similar: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden concepts [N, H], one per stock, and which of them have members [N]."""
        norm = x.norm(dim=1)
        other = x[similar]  # [N, k, H]
        cosine = (x.unsqueeze(1) * other).sum(dim=2) / (norm.unsqueeze(1) * norm[similar] + 1e-6)
        itself = similar == torch.arange(len(x), device=x.device).unsqueeze(1)
        joined = (cosine > 0) & ~itself
        cosine = cosine.where(joined, 0.0)
        into = similar.flatten()
        concepts = torch.zeros_like(x).index_add(
            0, into, (cosine.unsqueeze(2) * x.unsqueeze(1)).flatten(0, 1)
        )
        count = cosine.new_zeros(len(x)).index_add(0, into, joined.flatten().to(cosine.dtype))
        joins_itself = (count > 0) * norm.square() / (norm.square() + 1e-6)
        return concepts + joins_itself.unsqueeze(1) * x, count > 0


class _Shared(nn.Module):
    """What stocks read of concepts, and what that explains of them."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.info = _linear(size)
        self.score = _linear(size)
        self.explain = _linear(size)

    def forward(self, x: Tensor, concepts: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
        """The part of the score and the part explained, [N, H] each.

        Args:
            x: [N, H], what is still to explain.
            concepts: [K, H].
            used: [K] or [N, K], which of the concepts a stock reads.
        """
        info = self.info(_read_weights(x, concepts, used) @ concepts)
        return F.leaky_relu(self.score(info)), self.explain(info)


def _read_weights(x: Tensor, concepts: Tensor, used: Tensor) -> Tensor:
    """Softmax over the concepts that a stock reads: [N, K]; all 0 where there is none."""
    weights = cosines(x, concepts).exp() * used  # cosines need no maximum taken off
    return weights / weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)


def _linear(size: int) -> nn.Linear:
    layer = nn.Linear(size, size)
    nn.init.xavier_uniform_(layer.weight)
    return layer
