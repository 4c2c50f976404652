"""DTML: attention to the days of a stock, then to the other stocks, in the context of the market.

Yoo et al., "Accurate multivariate stock movement prediction via data-axis transformer with
multi-level contexts", KDD 2021. https://doi.org/10.1145/3447548.3467297
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alphazoo.bounds import NonNegativeFloat, PositiveFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch
from alphazoo.errors import check_choice
from alphazoo.models.base import StockModel
from alphazoo.models.encoder import Encoder
from alphazoo.models.head import Head
from alphazoo.models.market_state import check_market_state
from alphazoo.models.probe import Probe
from alphazoo.models.transformer import EncoderLayer

EPSILON = 1e-5  # of a variance, as in torch's layer norm


class ContextNorm(nn.Module):
    """Normalises the contexts of the stocks of a day, with a learned scale and shift per element.

    Args:
        width: H, number of elements of a context.
        over_stocks: Whether mean and variance are those of all stocks and elements of the day, or
            those of each stock's elements.
    """

    def __init__(self, width: int, *, over_stocks: bool) -> None:
        super().__init__()
        self.over_stocks = over_stocks
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, contexts: Tensor) -> Tensor:
        """Normalise [N, H]."""
        if not self.over_stocks:
            return F.layer_norm(contexts, contexts.shape[1:], self.weight, self.bias, EPSILON)
        x = contexts.to(self.weight.dtype)  # autocast normalises in float32, too
        x = x - x.mean()
        return self.weight * (x * (x.square().mean() + EPSILON).rsqrt()) + self.bias


class DTML(StockModel):
    """A linear head on contexts of stocks and the market that stocks exchange by attention.

    For the windows x of the stocks and the market state m [M] of the day::

        h = LSTM(tanh(W x + b))                           [N, T, H]
        c = sum over t of softmax_t(h_t . h_T) h_t        attention to days
        c = normalised over stocks and elements           context of a stock
        z = c + beta tanh(V m + d)                        with the context of the market
        z = LayerNorm(z + attention over stocks(z))
        score = head(tanh(LayerNorm(z + MLP(z))))
        loss = that of the scores + head_penalty |head|^2

    The market's context is the same for all stocks, so it changes no order by itself: it moves to
    which stocks a stock attends, and what the layers after it do. The authors published no code.
    Differences from the paper:

    - Its market context is that of the same LSTM over the series of an index. The market state
      already summarises 60 days of each index, so one layer takes the place of the LSTM.
    - The scale and shift of the normalisation are per stock and element there, and per element
      here, because stocks come and go. Reimplementations use layer norm (``norm="stock"``).
    - Its layer norms follow the attention and the MLP. Here, as in the Transformer of Vaswani et
      al., each follows a residual connection, and heads are projected; the tanh comes last.
    - It classifies up and down, by the sigmoid of the score and the cross entropy.

    Args:
        n_features: F, number of features per day.
        n_market: M, number of columns of the market state; at least one index is needed.
        cell: ``"lstm"`` or ``"gru"``.
        hidden_size: H, width of all layers; must be even and divisible by ``heads``.
        num_layers: Number of recurrent layers.
        heads: Number of heads of the attention over stocks.
        feedforward_size: Number of hidden units of the MLP; the paper: 4 H.
        dropout: Dropout rate between recurrent layers, and of the attention over stocks and what
            follows it.
        beta: Weight of the market's context.
        norm: ``"day"`` or ``"stock"``, over what contexts are normalised.
        head_penalty: Weight of the squared norm of the head's weights and bias in the loss.
        lr: Learning rate.
        weight_decay: L2 penalty on all weights.
    """

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        n_market: int,
        cell: str,
        hidden_size: PositiveInt,
        num_layers: PositiveInt,
        heads: PositiveInt,
        feedforward_size: PositiveInt,
        dropout: Probability,
        beta: PositiveFloat,
        norm: str,
        head_penalty: NonNegativeFloat,
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        check_market_state("DTML", n_market)
        check_choice("model.norm", norm, ("day", "stock"))
        self.beta = beta
        self.head_penalty = head_penalty
        self.input = nn.Linear(n_features, hidden_size)
        self.encoder = Encoder(
            cell=cell,
            n_features=hidden_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout if num_layers > 1 else 0.0,
        )
        self.time_attention = Probe("time", "stock", "step", shares=True)
        self.norm = ContextNorm(hidden_size, over_stocks=norm == "day")
        self.market = nn.Linear(n_market, hidden_size)
        self.stocks = EncoderLayer(
            hidden_size,
            heads,
            feedforward_size=feedforward_size,
            dropout=dropout,
            causal=False,
            pre_norm=False,
            over_stocks=True,
        )
        self.head = Head(hidden_size)

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]; the stocks are scored jointly."""
        market = self.market(day.market).tanh()  # [H]
        contexts = self._contexts(day) + self.beta * market
        states = self.stocks(contexts.unsqueeze(0))[0].tanh()  # [N, H]
        scores: Tensor = self.head(states)
        return scores.squeeze(-1)

    def loss(self, day: DayBatch) -> Tensor:
        """Return the loss of the scores and the penalty on the head, []; 0 without labels."""
        penalty = self.head.weight.square().sum() + self.head.bias.square().sum()
        learns = self.criterion.weight_of(day) > 0
        loss = self.criterion.on_day(self.outputs(day), day)
        return loss + self.head_penalty * penalty * learns

    def _contexts(self, day: DayBatch) -> Tensor:
        """Return the normalised context of each stock, [N, H]."""
        h = self.encoder(self.input(day.features).tanh())  # [N, T, H]
        logits = (h @ h[:, -1].unsqueeze(2)).squeeze(2)
        weights = self.time_attention(logits.softmax(dim=1))  # [N, T]
        contexts: Tensor = self.norm((weights.unsqueeze(2) * h).sum(dim=1))
        return contexts
