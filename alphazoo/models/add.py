"""ADD: the excess return of a stock, kept apart from the market by two adversaries.

Tang et al., "ADD: augmented disentanglement distillation framework for improving stock trend
forecasting", 2020. https://arxiv.org/abs/2012.06289
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alphazoo.bounds import NonNegativeFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch, Days, DaySequence
from alphazoo.data.lineage import starts_trained
from alphazoo.errors import InputError
from alphazoo.losses.base import is_known, weights_of
from alphazoo.models.base import StockModel
from alphazoo.models.blocks import encode_in_blocks
from alphazoo.models.day_norm import NormedHead
from alphazoo.models.encoder import Encoder
from alphazoo.models.probe import Probe

CLASSES = 3  # of the market's return: low, medium and high

States = tuple[Tensor, ...]  # last states of a recurrent network, h or h and c: [layers, N, H] each


class Decoder(nn.Module):
    """A recurrent network that writes a window day by day and reads what it has written.

    Args:
        cell: ``"lstm"`` or ``"gru"``.
        n_features: F.
        hidden_size: Width of the hidden state.
        num_layers: Number of recurrent layers.
        dropout: Dropout rate between the recurrent layers.
    """

    def __init__(
        self, *, cell: str, n_features: int, hidden_size: int, num_layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.rnn = Encoder(
            cell=cell,
            n_features=n_features,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
        ).rnn
        self.output = nn.Linear(hidden_size, n_features)

    def forward(self, states: States, steps: int) -> Tensor:
        """Return a window [N, T, F], oldest day first, from the first states of the layers."""
        x = states[0].new_zeros(states[0].shape[1], 1, self.output.out_features)
        state: Any = states if len(states) > 1 else states[0]
        days = []
        for _ in range(steps):
            outputs, state = self.rnn(x, state)
            x = self.output(outputs)
            days.append(x)
        return torch.cat(days, dim=1)


class ADD(StockModel):
    """A head on an encoder that must not know the market, beside an encoder that must.

    Two recurrent networks read the window of a stock. The state e of the first forecasts the excess
    return, the state m of the second the class of the market's return; each consists of the last
    states of all layers. An adversary tries to read from each state what belongs to the other one,
    and a decoder rebuilds the window from both::

        score = head(e)
        loss = criterion(head(e), y) + cross entropy(market_head(m), class)
               + criterion(excess_adversary(reverse(m)), y)
               + cross entropy(market_adversary(reverse(e)), class)
               + reconstruction mse(window, decoder(e, m))
        class = that of the mean return of the stocks of the day, by the terciles of the train days

    ``reverse`` multiplies the gradient by -alpha, alpha = 2 / (1 + exp(-reversal_rate epoch)) - 1,
    at most ``reversal_limit`` and 0 in the first epoch. If training starts from a trained ADD, as
    in an update, it is the largest from the first epoch on. Qlib's code keeps alpha outside of its
    checkpoint. Its code, as this one, lacks the distillation of the paper's title.

    The heads normalise over the stocks of a day in training, and by running statistics in
    evaluation, so a score depends on no other stock, see
    `alphazoo.models.day_norm.DayNorm`; Qlib's batches are of 5,000
    rows of many days. All stocks enter the terms of market and window, also those without a label,
    which Qlib drops.

    Args:
        n_features: F, number of features per day.
        cell: ``"lstm"`` or ``"gru"``.
        hidden_size: H, width of each encoder; the decoder is twice as wide.
        num_layers: Number of recurrent layers of encoders and decoder.
        dropout: Dropout rate between the recurrent layers of the encoders.
        decoder_dropout: Dropout rate between the recurrent layers of the decoder.
        reversal_rate: How fast the reversal of gradients grows with the epochs.
        reversal_limit: Its limit.
        reconstruction: Weight of the decoder's error in the loss.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

    _terciles: tuple[float, float] | None = None

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        cell: str,
        hidden_size: PositiveInt,
        num_layers: PositiveInt,
        dropout: Probability,
        decoder_dropout: Probability,
        reversal_rate: NonNegativeFloat,
        reversal_limit: NonNegativeFloat,
        reconstruction: NonNegativeFloat,
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        self.reversal_rate = reversal_rate
        self.reversal_limit = reversal_limit
        self.reconstruction = reconstruction
        sizes = {"cell": cell, "n_features": n_features, "num_layers": num_layers}
        self.encoder = Encoder(**sizes, hidden_size=hidden_size, dropout=dropout)  # type: ignore[arg-type]
        self.market_encoder = Encoder(**sizes, hidden_size=hidden_size, dropout=dropout)  # type: ignore[arg-type]
        self.decoder = Decoder(**sizes, hidden_size=2 * hidden_size, dropout=decoder_dropout)  # type: ignore[arg-type]
        size = num_layers * hidden_size
        self.head = NormedHead(size, 1)
        self.market_head = NormedHead(size, CLASSES)
        self.excess_adversary = NormedHead(size, 1)
        self.market_adversary = NormedHead(size, CLASSES)
        self.market = Probe("market", "stock", "class")

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]."""
        scores: Tensor = self.head(join(last_states(self.encoder, day.features)))
        if self.market.observed:
            logits = self.market_head(join(last_states(self.market_encoder, day.features)))
            self.market(logits.softmax(dim=1))
        return scores.squeeze(-1)

    def loss(self, day: DayBatch) -> Tensor:
        """Return the loss of a day, []; 0 without labels.

        Raises:
            InputError: The terciles of the market's return are unknown, see `build_memory`.
        """
        encoded = encode_in_blocks(self._encode, day.features, self)
        size = encoded.shape[1] // 2
        e, m, errors = torch.split(encoded, [size, size, 1], dim=1)  # [N, layers H] twice, [N, 1]
        counts = is_known(day.labels, weights_of(day)).any()
        alpha = self.reversal
        scores = self.head(e, counts).squeeze(-1)
        guess = self.excess_adversary(reverse(m, alpha), counts).squeeze(-1)
        target = self.market_class(day).expand(e.shape[0])
        of_market = F.cross_entropy(self.market_head(m, counts), target)
        of_market = of_market + F.cross_entropy(
            self.market_adversary(reverse(e, alpha), counts), target
        )
        of_labels = self.criterion.on_day(scores, day) + self.criterion.on_day(guess, day)
        return of_labels + (of_market + self.reconstruction * errors.mean()) * counts

    def _encode(self, x: Tensor) -> Tensor:
        """Return both states of windows [N, T, F], and the decoder's error: [N, 2 layers H + 1]."""
        excess, market = last_states(self.encoder, x), last_states(self.market_encoder, x)
        states = tuple(torch.cat(pair, dim=2) for pair in zip(excess, market, strict=True))
        rebuilt: Tensor = self.decoder(states, x.shape[1])
        error = (rebuilt.to(x.dtype) - x).square().mean(dim=(1, 2))
        return torch.cat([join(excess), join(market), error[:, None]], dim=1)

    @property
    def reversal(self) -> float:
        """The factor of reversed gradients in this epoch."""
        if starts_trained(self.lineage):
            grown = float(self.reversal_rate > 0)  # its limit over the epochs
        else:
            grown = 2 / (1 + math.exp(-self.reversal_rate * self.current_epoch)) - 1
        return min(self.reversal_limit, grown)

    def build_memory(self, train_days: DaySequence) -> None:
        """Find the terciles of the market's return on the training days."""
        if isinstance(train_days, Days):
            panels, rows = train_days.panels, train_days.rows
            returns = panels.returns[rows].where(panels.present[rows], torch.nan)
            means = returns.nanmean(dim=1)  # [days]
        else:
            means = torch.stack([day.returns.nanmean() for day in train_days])
        known = means[means.isfinite()].double()
        if not len(known):
            raise InputError("no training day has a return, so the market has no classes")
        low, high = known.quantile(known.new_tensor([1 / 3, 2 / 3])).tolist()
        self._terciles = low, high

    def on_fit_start(self) -> None:
        """Find the terciles of the market's return."""
        self._find_terciles(again=True)

    def on_validation_start(self) -> None:
        """Find the terciles of the market's return, unless they are known."""
        self._find_terciles(again=False)

    def _find_terciles(self, *, again: bool) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if data is not None and (again or self._terciles is None):
            self.build_memory(data.days("train"))

    def market_class(self, day: DayBatch) -> Tensor:
        """Return the class of the market's return on a day, []."""
        if self._terciles is None:
            raise InputError(
                "ADD needs the returns of all training days: pass the Trainer a MarketDataModule, "
                "or call model.build_memory(data.train_days()) first"
            )
        low, high = self._terciles
        mean = day.returns.nanmean()
        return (mean > low).long() + (mean > high).long()


def last_states(encoder: Encoder, features: Tensor) -> States:
    """Return the last states of all layers, [layers, N, H]: h, and c of an LSTM."""
    last: Tensor | States = encoder.rnn(features)[1]
    return last if isinstance(last, tuple) else (last,)


def join(states: States) -> Tensor:
    """Join the hidden states of the layers of each stock, [N, layers H]."""
    return states[0].transpose(0, 1).flatten(1)


def reverse(x: Tensor, alpha: float) -> Tensor:
    """Return x, and multiply its gradient by -alpha."""
    reversed_: Tensor = _Reverse.apply(x, alpha)  # type: ignore[no-untyped-call]
    return reversed_


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: float) -> Tensor:
        ctx.alpha = alpha
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.alpha * gradients[0], None
