"""LSTM: a long short-term memory over the window of each stock.

Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 1997.
https://doi.org/10.1162/neco.1997.9.8.1735
"""

from collections.abc import Sequence

from torch import Tensor

from alphazoo.bounds import NonNegativeFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch
from alphazoo.models.encoder import Encoder
from alphazoo.models.head import Head
from alphazoo.models.multi_output import MultiOutputModel


class LSTM(MultiOutputModel):
    """A linear head on the last hidden state; each stock is scored independently.

    Args:
        n_features: F, number of features per day.
        hidden_size: H, width of the hidden state.
        num_layers: Number of recurrent layers.
        dropout: Dropout rate between the recurrent layers.
        blend: Weights of the outputs in the score, one output per weight; see `MultiOutputModel`.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        hidden_size: PositiveInt,
        num_layers: PositiveInt,
        dropout: Probability,
        blend: Sequence[float],
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(blend=blend, lr=lr, weight_decay=weight_decay)
        self.encoder = Encoder(
            cell="lstm",
            n_features=n_features,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
        )
        self.head = Head(hidden_size, len(blend))

    def outputs(self, day: DayBatch) -> Tensor:
        """Return the outputs of each stock of the day, [N, K]; [N] if there is one."""
        last = self.encoder(day.features)[:, -1]  # [N, H]
        outputs: Tensor = self.head(last)
        return outputs.squeeze(-1)
