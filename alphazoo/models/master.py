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
from alphazoo.models.head import Head
from alphazoo.models.market_state import check_market_state
from alphazoo.models.probe import Probe
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
        over_stocks: Whether the second dimension is the stocks of a day, and the first the days of
            the window, instead of the other way round.
    """

    def __init__(
        self, width: int, heads: int, *, dropout: float, scaled: bool, over_stocks: bool
    ) -> None:
        super().__init__()
        self.over_stocks = over_stocks
        if over_stocks:
            self.attention = Probe("attention", "head", "stock", "other", shares=True)
        else:
            self.time_attention = Probe("time", "stock", "head", "query", "step", shares=True)
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
        attended = self._show(*parts).transpose(1, 2).flatten(2)
        x = self.norm2(x + attended)
        encoded: Tensor = x + self.feedforward(x)
        return encoded

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # [B, heads, L, H / heads]

    def _show(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend, and show the weights, of the stocks day by day: the kernel returns none."""
        attended = self._attend(query, key, value)  # [B, heads, L, H / heads]
        if not self.over_stocks:
            if self.time_attention.observed:
                return self._replace(self.time_attention, query, key, value, attended)
        elif self.attention.observed:
            steps = zip(query, key, value, attended, strict=True)
            return torch.stack([self._replace(self.attention, *step) for step in steps])
        return attended

    def _replace(
        self, probe: Probe, query: Tensor, key: Tensor, value: Tensor, attended: Tensor
    ) -> Tensor:
        """Show the weights; return what is attended to with those that the observer returns."""
        weights = (query @ key.transpose(-2, -1) * self.scale).softmax(dim=-1)
        shares = probe(weights)
        return attended if shares is weights else shares @ value

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
        check_market_state("MASTER", n_market)
        for name, heads in (("2", 2), ("time_heads", time_heads), ("stock_heads", stock_heads)):
            if hidden_size % heads:
                given = "" if name == "2" else f" and {heads}"
                raise InputError(
                    f"model.hidden_size must be divisible by {name}, got {hidden_size}{given}"
                )
        self.beta = beta
        self.gate = nn.Linear(n_market, n_features)
        self.input = nn.Linear(n_features, hidden_size)
        self.time = AttentionBlock(
            hidden_size, time_heads, dropout=dropout, scaled=scale_time, over_stocks=False
        )
        self.stocks = AttentionBlock(
            hidden_size, stock_heads, dropout=dropout, scaled=True, over_stocks=True
        )
        self.pooling = nn.Linear(hidden_size, hidden_size, bias=False)
        self.gate_weights = Probe("gate", "feature", shares=True)
        self.day_weights = Probe("time", "stock", "step", shares=True)
        self.head = Head(hidden_size)

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]; the stocks are scored jointly."""
        logits = self.gate(day.market) / self.beta
        gate = len(logits) * self.gate_weights(logits.softmax(dim=0))  # [F]
        x = self.input(gate * day.features)
        h = self.time(x + position_code(x))  # [N, T, H], each stock without the others
        h = self.stocks(h.transpose(0, 1)).transpose(0, 1)
        u = self.pooling(h)  # [N, T, H]
        similarity = (u @ u[:, -1].unsqueeze(2)).squeeze(2)  # [N, T]
        weights = self.day_weights(similarity.softmax(dim=1))
        pooled = (weights.unsqueeze(1) @ h).squeeze(1)  # [N, H]
        scores: Tensor = self.head(pooled)
        return scores.squeeze(-1)
