"""GATs: a graph attention layer over the stocks of the day.

Veličković et al., "Graph attention networks", ICLR 2018. https://arxiv.org/abs/1710.10903
The graph is either complete (every stock attends to all stocks, including itself) or given by
concepts.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alphazoo.bounds import NonNegativeFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch
from alphazoo.errors import InputError, check_choice
from alphazoo.models.base import StockModel
from alphazoo.models.concept_graph import joined_stocks
from alphazoo.models.encoder import Encoder
from alphazoo.models.head import Head
from alphazoo.models.probe import Probe


class GATs(StockModel):
    """A stock's hidden state plus the attention-weighted mean of all stocks' hidden states.

    As in Qlib's benchmark, and unlike in the paper, attention averages the hidden states themselves
    (``aggregate="hidden"``) with one head and a slope of 0.01. The paper averages the transformed
    states (``aggregate="transformed"``) over the edges of a given graph, with a slope of 0.2,
    several heads and attention dropout. On the complete graph, the attention weights differ little
    between stocks, because the logit is the sum of a term of stock i and a term of stock j.
    ``graph="concepts"`` connects the stocks that share a concept, such as a sector.

    Args:
        n_features: F, number of features per day.
        cell: ``"lstm"`` or ``"gru"``.
        hidden_size: H, width of the encoder and of the attention.
        num_layers: Number of recurrent layers.
        dropout: Dropout rate between the recurrent layers.
        heads: Number of attention heads; must divide ``hidden_size``.
        slope: Negative slope of the leaky ReLU of the attention, eq. 3.
        attention_dropout: Dropout rate of the attention weights during training.
        aggregate: The states that attention averages, ``"hidden"`` or ``"transformed"``.
        graph: ``"complete"``, or ``"concepts"``: a stock attends only to itself and to stocks
            that share a concept with it.
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
        heads: PositiveInt,
        slope: float,
        attention_dropout: Probability,
        aggregate: str,
        graph: str,
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        if hidden_size % heads:
            raise InputError(f"heads must divide hidden_size, got {heads} and {hidden_size}")
        check_choice("model.aggregate", aggregate, ("hidden", "transformed"))
        check_choice("model.graph", graph, ("complete", "concepts"))
        self.encoder = Encoder(
            cell=cell,
            n_features=n_features,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
        )
        self.heads = heads
        self.slope = slope
        self.attention_dropout = attention_dropout
        self.aggregate = aggregate
        self.graph = graph
        self.transform = nn.Linear(hidden_size, hidden_size)
        width = hidden_size // heads
        self.source = nn.Parameter(torch.randn(heads, width, 1))  # first half of a in eq. 3
        self.target = nn.Parameter(torch.randn(heads, width, 1))
        self.attention = Probe("attention", "head", "stock", "other", shares=True)
        self.output = nn.Linear(hidden_size, hidden_size)
        self.head = Head(hidden_size)

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]; the stocks are scored jointly.

        Raises:
            InputError: The graph is given by concepts, but the data have none.
        """
        hidden = self.encoder(day.features)[:, -1]  # [N, H]
        transformed = self._split(self.transform(hidden))  # [heads, N, H / heads]
        attention = self.attention(self._attend(transformed, day))
        attention = F.dropout(attention, self.attention_dropout, self.training)
        values = transformed if self.aggregate == "transformed" else self._split(hidden)
        context = (attention @ values).transpose(0, 1).flatten(1)  # [N, H]
        scores: Tensor = self.head(F.leaky_relu(self.output(context + hidden)))
        return scores.squeeze(-1)

    def _split(self, states: Tensor) -> Tensor:
        return states.view(states.shape[0], self.heads, -1).transpose(0, 1)

    def _attend(self, transformed: Tensor, day: DayBatch) -> Tensor:
        """Return the attention of stock i to stock j, [heads, N, N]; each row sums to 1."""
        # a [z_j, z_i] is the sum of two vectors, so no tensor [N, N, 2H] is needed
        source = (transformed @ self.source).transpose(1, 2)  # [heads, 1, N]
        target = transformed @ self.target  # [heads, N, 1]
        logits: Tensor = F.leaky_relu(source + target, self.slope)
        if self.graph == "concepts":
            joined, _ = joined_stocks(day)
            logits = logits.masked_fill(~joined, -torch.inf)
        return logits.softmax(dim=2)  # eq. 3
