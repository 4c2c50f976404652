"""iTransformer: self-attention over the stocks of the day, with a whole window as one token.

Liu et al., "iTransformer: inverted transformers are effective for time series forecasting", ICLR
2024. https://arxiv.org/abs/2310.06625
"""

from torch import Tensor, nn

from alphazoo.bounds import NonNegativeFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch
from alphazoo.models.base import StockModel
from alphazoo.models.head import Head
from alphazoo.models.transformer import EncoderLayer


class ITransformer(StockModel):
    """A linear head on an encoder whose tokens are the stocks of the day.

    A linear layer embeds the window of a stock, all days and features together; the layers of
    `alphazoo.models.transformer`, with layer norm after attention and feed-forward, let the stocks
    attend to each other, and a last layer norm follows. There is no position code, because stocks
    have no order.

    The paper forecasts series of one variable. The authors' code normalises each window by its own
    mean and deviation and undoes this afterwards; here, features are scaled already, and a score
    has no unit to return to, so this is left out. Its feed-forward networks have GELU instead of
    ReLU.

    Args:
        n_features: F, number of features per day.
        window: T, number of days.
        hidden_size: H, width of the encoder.
        num_layers: Number of encoder layers.
        heads: Number of attention heads; must divide ``hidden_size``.
        feedforward_size: Number of hidden units of the feed-forward networks.
        dropout: Dropout rate in the encoder layers.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        window: PositiveInt,
        hidden_size: PositiveInt,
        num_layers: PositiveInt,
        heads: PositiveInt,
        feedforward_size: PositiveInt,
        dropout: Probability,
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        self.input = nn.Linear(window * n_features, hidden_size)
        self.layers = nn.Sequential(
            *(
                EncoderLayer(
                    hidden_size,
                    heads,
                    feedforward_size=feedforward_size,
                    dropout=dropout,
                    causal=False,
                    pre_norm=False,
                    over_stocks=True,
                )
                for _ in range(num_layers)
            )
        )
        self.norm = nn.LayerNorm(hidden_size)
        self.head = Head(hidden_size)

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]; the stocks are scored jointly."""
        tokens = self.input(day.features.flatten(1)).unsqueeze(0)  # [1, N, H]
        scores: Tensor = self.head(self.norm(self.layers(tokens)))
        return scores[0, :, 0]
