"""MASTER: attention over days, then over stocks, with features weighted by the market state.

Li et al., "MASTER: market-guided stock transformer for stock price forecasting", AAAI 2024.
https://arxiv.org/abs/2312.15235
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from alphazoo.bounds import NonNegativeFloat, PositiveFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch
from alphazoo.errors import InputError
from alphazoo.models.base import StockModel
from alphazoo.models.transformer import position_code

MANY = 1000  # stocks from which the attention matrices of all steps together are too large


class AttentionBlock(nn.Module):
    """Self-attention over the second dimension and a feed-forward network, as MASTER defines them.

    Both residual connections start from a normalised tensor, and the heads are concatenated
    without an output projection.

    Args:
        width: H, number of features of the input and the output.
        heads: Number of attention heads; must divide ``width``.
        dropout: Dropout rate of the attention weights, the hidden units and the output.
        scaled: Whether to divide the logits by the square root of the width of a head.
    """

    def __init__(self, width: int, heads: int, *, dropout: float, scaled: bool) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.scale = (width // heads) ** -0.5 if scaled else 1.0
        self.norm1 = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.norm2 = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Encode [B, L, H] as [B, L, H]; the rows of the batch are independent."""
        x = self.norm1(x)
        parts = (self._split(layer(x)) for layer in (self.query, self.key, self.value))
        attended = self._attend(*parts).transpose(1, 2).flatten(2)
        x = self.norm2(x + attended)
        encoded: Tensor = x + self.feedforward(x)
        return encoded

    def weights(self, x: Tensor) -> Tensor:
        """Return the attention weights, [B, heads, L, L]; each row sums to 1."""
        x = self.norm1(x)
        query, key = self._split(self.query(x)), self._split(self.key(x))
        return (query @ key.transpose(2, 3) * self.scale).softmax(dim=3)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # [B, heads, L, H / heads]

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        # on a CPU, torch stores the attention matrix if it needs dropout
        stored = query.device.type == "cpu" and self.training and self.dropout > 0
        if not stored or query.shape[2] < MANY:
            return self._dot_product(query, key, value)
        steps = zip(query, key, value, strict=True)
        rows = [checkpoint(self._dot_product, *step, use_reentrant=False) for step in steps]
        return torch.stack(rows)

    def _dot_product(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        rate = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(query, key, value, dropout_p=rate, scale=self.scale)


class MASTER(StockModel):
    """A linear head on the mean of a stock's days, weighted by their similarity to the last day.

    For a day with market state m [M] and windows x [N, T, F]::

        g = F softmax((W m + b) / beta)                      gate, sums to F
        h = U (g x) + position code
        h = attention over the T days of each stock
        h = attention over the N stocks, separately on each day of the window
        u = P h,  w = softmax over t of u_t . u_T
        score = head(sum over t of w_t h_t)

    The state is that of the last day and weighs the features of all days. As in the authors' code,
    and unlike in the paper, the attention over days is not divided by the square root of the
    width of a head (``scale_time``), heads are not projected after attention, and the residual
    connections start from the normalised input. The authors' code leaves extreme labels out of the
    day, so that attention sees fewer stocks in training than in evaluation; here,
    ``label.drop_extreme=0.05`` leaves them out of the loss only.

    The attention matrices of a day, [T, heads, N, N], are never stored together.
    `alphazoo.qlib.load_weights` takes the authors' published weights.

    Args:
        n_features: F, number of features per day.
        n_market: M, number of columns of the market state; at least one index is needed.
        hidden_size: H, width of the encoder; must be even and divisible by the numbers of heads.
        time_heads: Number of heads of the attention over days.
        stock_heads: Number of heads of the attention over stocks.
        dropout: Dropout rate of both attention blocks.
        beta: Temperature of the gate; the larger, the more equal the features. The paper: 5 for
            CSI300, 2 for CSI800.
        scale_time: Whether to divide the logits of the attention over days by the square root of
            the width of a head.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        n_market: int,
        hidden_size: PositiveInt,
        time_heads: PositiveInt,
        stock_heads: PositiveInt,
        dropout: Probability,
        beta: PositiveFloat,
        scale_time: bool,
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        if n_market < 1:
            raise InputError(
                "MASTER needs a market state: set data.indices to the symbols of at least one "
                "index, such as data.indices=[SH000300]; it is empty"
            )
        for name, heads in (("2", 2), ("time_heads", time_heads), ("stock_heads", stock_heads)):
            if hidden_size % heads:
                given = "" if name == "2" else f" and {heads}"
                raise InputError(
                    f"model.hidden_size must be divisible by {name}, got {hidden_size}{given}"
                )
        self.beta = beta
        self.gate = nn.Linear(n_market, n_features)
        self.input = nn.Linear(n_features, hidden_size)
        self.time = AttentionBlock(hidden_size, time_heads, dropout=dropout, scaled=scale_time)
        self.stocks = AttentionBlock(hidden_size, stock_heads, dropout=dropout, scaled=True)
        self.pooling = nn.Linear(hidden_size, hidden_size, bias=False)
        self.head = nn.Linear(hidden_size, 1)

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]; the stocks are scored jointly."""
        h = self._encode(day)  # [N, T, H]
        pooled = (self._time_weights(h).unsqueeze(1) @ h).squeeze(1)  # [N, H]
        scores: Tensor = self.head(pooled)
        return scores.squeeze(-1)

    def gate_weights(self, day: DayBatch) -> Tensor:
        """Return the weights that the market state gives to the features, [F]; they sum to F."""
        logits: Tensor = self.gate(day.market) / self.beta
        return len(logits) * logits.softmax(dim=0)

    def time_weights(self, day: DayBatch) -> Tensor:
        """Return the weights of the days in the score of each stock, [N, T]; rows sum to 1."""
        return self._time_weights(self._encode(day))

    def attention_weights(self, day: DayBatch, step: int = -1) -> Tensor:
        """Return the attention of stock i to stock j on one day of the window, [heads, N, N]."""
        return self.stocks.weights(self._encode_alone(day)[:, step].unsqueeze(0))[0]

    def _encode_alone(self, day: DayBatch) -> Tensor:
        """Encode the window of each stock without the others, [N, T, H]."""
        x = self.input(self.gate_weights(day) * day.features)
        encoded: Tensor = self.time(x + position_code(x))
        return encoded

    def _encode(self, day: DayBatch) -> Tensor:
        encoded: Tensor = self.stocks(self._encode_alone(day).transpose(0, 1))  # [T, N, H]
        return encoded.transpose(0, 1)

    def _time_weights(self, h: Tensor) -> Tensor:
        u: Tensor = self.pooling(h)  # [N, T, H]
        return (u @ u[:, -1].unsqueeze(2)).squeeze(2).softmax(dim=1)
