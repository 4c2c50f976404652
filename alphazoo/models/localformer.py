"""Localformer: a Transformer with a convolution before each layer and a GRU after the last.

It has no paper; its author contributed it to Qlib's benchmarks.
https://github.com/microsoft/qlib/tree/main/examples/benchmarks/Localformer
"""

from torch import Tensor, nn

from alphazoo.bounds import NonNegativeFloat, PositiveFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch
from alphazoo.errors import check_choice
from alphazoo.models.base import StockModel
from alphazoo.models.encoder import Encoder
from alphazoo.models.transformer import EncoderLayer, position_code


class Localformer(StockModel):
    """A linear score of the last state of a GRU over the encoded days.

    Args:
        n_features: F, features per day.
        hidden_size: d, width of the encoder, of the convolutions and of the GRU.
        num_layers: Encoder layers, and layers of the GRU.
        heads: Attention heads; they divide ``hidden_size``.
        feedforward_size: Hidden units of the feed-forward networks.
        dropout: Of the encoder layers, and between the layers of the GRU.
        causal: Attention does not see later days; the convolutions see one day ahead all the same.
        pre_norm: Layer norm before attention and feed-forward instead of after.
        pooling: ``"last"`` state of the GRU or ``"mean"`` of all.
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
        lr: PositiveFloat,
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
        self.head = nn.Linear(hidden_size, 1)

    def forward(self, day: DayBatch) -> Tensor:
        """Score the stocks of a day: [N]."""
        x = self.input(day.features)  # [N, T, d]
        x = x + position_code(x)
        for convolution, layer in zip(self.convolutions, self.layers, strict=True):
            local = convolution(x.transpose(1, 2)).transpose(1, 2)  # [N, T, d]
            x = layer(x + local)
        states = self.encoder(x + local)  # [N, T, d]
        pooled = states[:, -1] if self.pooling == "last" else states.mean(dim=1)  # [N, d]
        scores: Tensor = self.head(pooled)
        return scores.squeeze(-1)
