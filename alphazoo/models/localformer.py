"""Localformer: a Transformer with a convolution before each layer and a GRU after the last.

There is no paper; the author contributed the model to Qlib's benchmarks.
https://github.com/microsoft/qlib/tree/main/examples/benchmarks/Localformer
"""

from torch import Tensor, nn

from alphazoo.bounds import NonNegativeFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch
from alphazoo.errors import check_choice
from alphazoo.models.base import StockModel
from alphazoo.models.blocks import encode_in_blocks
from alphazoo.models.encoder import Encoder
from alphazoo.models.head import Head
from alphazoo.models.transformer import EncoderLayer, position_code


class Localformer(StockModel):
    """A linear head on the last state of a GRU over the encoded days.

    Args:
        n_features: F, number of features per day.
        hidden_size: d, width of the encoder, the convolutions and the GRU.
        num_layers: Number of encoder layers, and number of layers of the GRU.
        heads: Number of attention heads; must divide ``hidden_size``.
        feedforward_size: Number of hidden units of the feed-forward networks.
        dropout: Dropout rate in the encoder layers and between the layers of the GRU.
        causal: Mask later days in the attention; the convolutions still see one day ahead.
        pre_norm: Apply layer norm before attention and feed-forward instead of after.
        pooling: Score from the ``"last"`` state of the GRU or from the ``"mean"`` of all states.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        hidden_size: PositiveInt,
        num_layers: PositiveInt,
        heads: PositiveInt,
        feedforward_size: PositiveInt,
        dropout: Probability,
        causal: bool,
        pre_norm: bool,
        pooling: str,
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        check_choice("model.pooling", pooling, ("last", "mean"))
        self.pooling = pooling
        self.input = nn.Linear(n_features, hidden_size)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(hidden_size, hidden_size, kernel_size=3, padding=1) for _ in range(num_layers)
        )
        self.layers = nn.ModuleList(
            EncoderLayer(
                hidden_size,
                heads,
                feedforward_size=feedforward_size,
                dropout=dropout,
                causal=causal,
                pre_norm=pre_norm,
            )
            for _ in range(num_layers)
        )
        self.encoder = Encoder(
            cell="gru",
            n_features=hidden_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
        )
        self.head = Head(hidden_size)

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]."""
        pooled = encode_in_blocks(self._encode, day.features, self)
        scores: Tensor = self.head(pooled)
        return scores.squeeze(-1)

    def _encode(self, x: Tensor) -> Tensor:
        """Encode windows [N, T, F] as [N, d]."""
        x = self.input(x)
        x = x + position_code(x)
        for convolution, layer in zip(self.convolutions, self.layers, strict=True):
            local = convolution(x.transpose(1, 2)).transpose(1, 2)  # [N, T, d]
            x = layer(x + local)
        states: Tensor = self.encoder(x + local)  # [N, T, d]
        return states[:, -1] if self.pooling == "last" else states.mean(dim=1)
