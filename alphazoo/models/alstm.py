"""ALSTM: a recurrent network with attention over the days of the window.

Qin et al., "A dual-stage attention-based recurrent neural network for time series prediction",
IJCAI 2017. https://arxiv.org/abs/1704.02971
Only the second of the paper's two stages, attention over time, is implemented, as in Qlib's
benchmark.
"""

import torch
from torch import Tensor, nn

from alphazoo.bounds import NonNegativeFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch
from alphazoo.models.base import StockModel
from alphazoo.models.encoder import Encoder
from alphazoo.models.head import Head


class ALSTM(StockModel):
    """A linear head on the last hidden state and the attention-weighted mean of all of them.

    Qlib's ALSTM always runs a GRU, because its setting for the cell is never passed on. Its
    published metrics are therefore those of ``cell="gru"``, the default in the yaml; the paper
    uses ``"lstm"``.

    Args:
        n_features: F, number of features per day.
        cell: ``"lstm"`` or ``"gru"``.
        hidden_size: H, width of the hidden state.
        num_layers: Number of recurrent layers.
        dropout: Dropout rate between the recurrent layers and inside the attention.
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
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        self.input = nn.Linear(n_features, hidden_size)
        self.encoder = Encoder(
            cell=cell,
            n_features=hidden_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
        )
        self.attention = nn.Sequential(
            nn.Linear(hidden_size, hidden_size // 2),
            nn.Dropout(dropout),
            nn.Tanh(),
            nn.Linear(hidden_size // 2, 1, bias=False),
        )
        self.head = Head(2 * hidden_size)

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]."""
        states = self._encode(day)  # [T, N, H]
        context = (self._weigh(states) * states).sum(dim=0)  # [N, H]
        scores: Tensor = self.head(torch.cat([states[-1], context], dim=1))
        return scores.squeeze(-1)

    def time_weights(self, day: DayBatch) -> Tensor:
        """Return the attention weight of each day of the window, [N, T]; each row sums to 1."""
        return self._weigh(self._encode(day)).squeeze(-1).T

    def _encode(self, day: DayBatch) -> Tensor:
        features = day.features.transpose(0, 1)  # [T, N, F], the order in memory
        states: Tensor = self.encoder(self.input(features).tanh().transpose(0, 1))
        return states.transpose(0, 1)

    def _weigh(self, states: Tensor) -> Tensor:
        logits: Tensor = self.attention(states)  # [T, N, 1]
        return logits.softmax(dim=0)
