"""Transformer: self-attention over the days of the window of each stock.

Vaswani et al., "Attention is all you need", NeurIPS 2017. https://arxiv.org/abs/1706.03762
Only the encoder is used. Unlike in the paper, the embedding is not scaled by sqrt(d).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alphazoo.bounds import NonNegativeFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch
from alphazoo.errors import InputError, check_choice
from alphazoo.models.base import StockModel
from alphazoo.models.blocks import encode_in_blocks
from alphazoo.models.feedforward import FeedForward
from alphazoo.models.head import Head
from alphazoo.models.probe import Probe


def position_code(x: Tensor) -> Tensor:
    """Return the sinusoidal position encoding [T, d] for x [N, T, d], section 3.5."""
    length, width = x.shape[1:]
    days = torch.arange(length, device=x.device, dtype=x.dtype)[:, None]
    rates = torch.arange(0, width, 2, device=x.device, dtype=x.dtype) * (-math.log(10000) / width)
    angles = days * rates.exp()  # [T, d / 2]
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network, each with a residual connection and layer norm.

    Args:
        width: d, number of features of the input and the output.
        heads: Number of attention heads; must divide ``width``.
        feedforward_size: Number of hidden units of the feed-forward network.
        dropout: Dropout rate of the attention weights, the hidden units and both outputs.
        causal: A day attends only to itself and earlier days.
        pre_norm: Normalise before attention and feed-forward, not after the residual connections.
        over_stocks: Whether the tokens are the stocks of a day instead of the days of a window.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        feedforward_size: int,
        dropout: float,
        causal: bool,
        pre_norm: bool,
        over_stocks: bool = False,
    ) -> None:
        super().__init__()
        if width % heads or width % 2:
            raise InputError(
                f"hidden_size must be even and divisible by heads, got {width}, {heads}"
            )
        self.heads = heads
        self.dropout = dropout
        self.causal = causal
        self.pre_norm = pre_norm
        self.over_stocks = over_stocks
        self.projections = nn.Linear(width, 3 * width)  # queries, keys, values
        if over_stocks:
            self.attention = Probe("attention", "day", "head", "stock", "other", shares=True)
        else:
            self.time_attention = Probe("time", "stock", "head", "query", "step", shares=True)
        self.output = nn.Linear(width, width)
        self.feedforward = FeedForward(width, feedforward_size, dropout)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        nn.init.xavier_uniform_(self.projections.weight)
        nn.init.zeros_(self.projections.bias)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor, *, last_only: bool = False) -> Tensor:
        """Encode [N, T, d] as [N, T, d], or only its last day as [N, 1, d]."""
        normed = self.norm1(x) if self.pre_norm else x
        attended = self._attend(normed, last_only)
        if last_only:
            x = x[:, -1:]
        x = x + F.dropout(attended, self.dropout, self.training)
        if not self.pre_norm:
            x = self.norm1(x)
        fed = self.feedforward(self.norm2(x) if self.pre_norm else x)
        x = x + F.dropout(fed, self.dropout, self.training)
        return x if self.pre_norm else self.norm2(x)

    def _attend(self, x: Tensor, last_only: bool) -> Tensor:
        width = x.shape[2]
        weight, bias = self.projections.weight, self.projections.bias
        query = F.linear(x[:, -1:] if last_only else x, weight[:width], bias[:width])
        key, value = F.linear(x, weight[width:], bias[width:]).chunk(2, dim=2)
        query, key, value = (
            part.view(*part.shape[:2], self.heads, -1).transpose(1, 2)
            for part in (query, key, value)
        )  # [N, heads, T, d / heads]
        attended = self._dot_product(query, key, value)
        probe = self.attention if self.over_stocks else self.time_attention
        if probe.observed:  # the fused kernel does not return its weights
            weights = self._weigh(query, key)
            shares = probe(weights)
            attended = attended if shares is weights else shares @ value
        merged: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return merged

    def _dot_product(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        rate = self.dropout if self.training else 0.0
        # in bfloat16 on a CPU, the gradient of torch's fused kernel takes five times as long
        slow = query.dtype == torch.bfloat16 and query.device.type == "cpu"
        if slow and not self.over_stocks:
            return F.dropout(self._weigh(query, key), rate) @ value
        causal = self.causal and query.shape[2] > 1
        return F.scaled_dot_product_attention(query, key, value, dropout_p=rate, is_causal=causal)

    def _weigh(self, query: Tensor, key: Tensor) -> Tensor:
        """Return the attention weights over the days of the window, [N, heads, queries, T]."""
        logits = query / math.sqrt(query.shape[3]) @ key.transpose(2, 3)
        if self.causal and query.shape[2] > 1:
            later = torch.ones_like(logits[0, 0], dtype=torch.bool).triu(1)
            logits = logits.masked_fill(later, -torch.inf)
        return logits.softmax(dim=3)


class Transformer(StockModel):
    """A linear head on the last day of a Transformer encoder.

    The window holds only the past, so no mask is needed. ``causal`` adds a mask, so that each day
    is encoded without later days. With ``pooling="last"``, the last layer encodes only the last
    day.

    Args:
        n_features: F, number of features per day.
        hidden_size: d, width of the encoder.
        num_layers: Number of encoder layers.
        heads: Number of attention heads; must divide ``hidden_size``.
        feedforward_size: Number of hidden units of the feed-forward networks.
        dropout: Dropout rate in the encoder layers.
        causal: Mask later days in the attention.
        pre_norm: Apply layer norm before attention and feed-forward and at the end, instead of
            after each of them.
        pooling: Score from the ``"last"`` day or from the ``"mean"`` of all days.
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
        self.norm = nn.LayerNorm(hidden_size) if pre_norm else nn.Identity()
        self.head = Head(hidden_size)

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]."""
        pooled = encode_in_blocks(self._encode, day.features, self)
        scores: Tensor = self.head(self.norm(pooled))
        return scores.squeeze(-1)

    def _encode(self, x: Tensor) -> Tensor:
        """Encode windows [N, T, F] as [N, d]."""
        x = self.input(x)
        x = x + position_code(x)
        *layers, last = self.layers
        for layer in layers:
            x = layer(x)
        pooled: Tensor = last(x, last_only=self.pooling == "last").mean(dim=1)
        return pooled
