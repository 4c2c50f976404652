"""The recurrent encoder shared by the recurrent and the graph models."""

from torch import Tensor, nn

from alphazoo.errors import check_choice
from alphazoo.models.recurrence import FastGRU, FastLSTM

CELLS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": FastLSTM, "gru": FastGRU}


class Encoder(nn.Module):
    """Recurrent layers over the window of each stock.

    Args:
        cell: ``"lstm"`` or ``"gru"``.
        n_features: F, number of features per day.
        hidden_size: H, width of the hidden state.
        num_layers: Number of stacked layers.
        dropout: Dropout rate between the layers.
    """

    def __init__(
        self, *, cell: str, n_features: int, hidden_size: int, num_layers: int, dropout: float
    ) -> None:
        super().__init__()
        check_choice("model.cell", cell, CELLS)
        self.rnn = CELLS[cell](
            n_features, hidden_size, num_layers, batch_first=True, dropout=dropout
        )

    def forward(self, features: Tensor) -> Tensor:
        """Encode [N, T, F] as [N, T, H], the outputs of the last layer."""
        outputs: Tensor = self.rnn(features)[0]
        return outputs
