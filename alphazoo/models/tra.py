"""TRA: several predictors on one encoder, and a router that knows their past losses.

Lin et al., "Learning multiple stock trading patterns with temporal routing adaptor and optimal
transport", KDD 2021. https://arxiv.org/abs/2106.12950

The file is long because Lightning calls the hooks of the memory on the model.
"""

import logging
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alphazoo.bounds import (
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
)
from alphazoo.data.days import DayBatch, Days, DaySequence
from alphazoo.data.lineage import starts_trained
from alphazoo.errors import InputError
from alphazoo.losses.base import is_known, weighted_mean, weights_of
from alphazoo.models.base import StockModel
from alphazoo.models.encoder import Encoder
from alphazoo.models.head import Head
from alphazoo.models.memory import weights_digest
from alphazoo.models.past_losses import PastLosses
from alphazoo.models.probe import Probe
from alphazoo.models.transport import largest, scale, squared_errors, transport

log = logging.getLogger(__name__)


class TRA(StockModel):
    """The prediction of one of K linear heads, which a router chooses for each stock.

    The state h of a stock is the mean over layers of the last states of a recurrent network, beside
    the mean of its outputs over the window, weighted by attention. Its past losses e [L, K] are
    those of the K predictors on the same stock, on the L days whose labels are known when the day
    is scored: day t - delay and before. Each is scaled to [0, 1] over the predictors::

        p = W h                                  predictions of the K predictors
        a = U [h, last state of an LSTM over e]  router
        score = p_k, k = argmax a; in training, a sample by straight-through Gumbel-softmax
        cost = scale(alpha scale((p - y)^2) + (1 - alpha) scale(mean of e over days))
        P = shares of the predictors in a stock, and of stocks in a predictor, by optimal transport
        loss = criterion(score, y) - router_weight router_decay^(step // 100) mean(P log softmax a)

    The memory of past losses depends only on weights, features and labels. It is computed at the
    start of each epoch and before validation, test and prediction, for the days that are needed,
    also those between the segments, and is never stored. A day without a label counts as loss 1 of
    all predictors, a day without the stock as 0. Qlib also replaces the losses of a day whenever
    the day is trained on, and skips days without the stock.

    In the first ``pretrain_epochs``, the loss is the mean of P (p - y)^2, and the router does not
    learn, so none of them is the best epoch; Qlib stops this by the validation IC of the sum of
    P p, which knows the labels, and starts the steps of the decay anew. The paper knows no past
    losses in the cost (``alpha=1``).

    Args:
        n_features: F, number of features per day; more than ``hidden_size`` are projected first.
        cell: ``"lstm"`` or ``"gru"``, of the encoder.
        hidden_size: H, width of the encoder.
        num_layers: Number of recurrent layers of the encoder.
        dropout: Dropout rate between the recurrent layers.
        n_predictors: K; 1 is the encoder with a linear head, without router and memory.
        n_losses: L, number of past days whose losses the router reads.
        delay: Trading days until the label of a day is known, at least ``label.sell``.
        router_size: Width of the LSTM of the router.
        tau: Temperature of the router.
        gumbel: Whether the router samples in training; if not, it takes the largest.
        alpha: Weight of the losses of the day in the cost, from 0 to 1.
        router_weight: Weight of the router's likelihood of the transport in the loss.
        router_decay: Factor of this weight every 100 optimiser steps.
        pretrain_epochs: Number of epochs in which only the encoder and the predictors learn; none
            if training starts from a trained TRA, as in an update.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

    differentiable = False
    _past: PastLosses | None = None
    _made_of: tuple[object, ...] = ()  # the weights and panels that the memory was made of

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        cell: str,
        hidden_size: PositiveInt,
        num_layers: PositiveInt,
        dropout: Probability,
        n_predictors: PositiveInt,
        n_losses: PositiveInt,
        delay: PositiveInt,
        router_size: PositiveInt,
        tau: PositiveFloat,
        gumbel: bool,
        alpha: NonNegativeFloat,
        router_weight: NonNegativeFloat,
        router_decay: Fraction,
        pretrain_epochs: NonNegativeInt,
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        if alpha > 1:
            raise InputError(f"model.alpha must be from 0 to 1, got {alpha}")
        self.n_losses = n_losses
        self.delay = delay
        self.tau = tau
        self.gumbel = gumbel
        self.alpha = alpha
        self.router_weight = router_weight
        self.router_decay = router_decay
        self.pretrain_epochs = pretrain_epochs
        wide = n_features > hidden_size
        self.input = nn.Linear(n_features, hidden_size) if wide else nn.Identity()
        self.encoder = Encoder(
            cell=cell,
            n_features=min(n_features, hidden_size),
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
        )
        self.attention = nn.Sequential(
            nn.Linear(hidden_size, hidden_size), nn.Tanh(), nn.Linear(hidden_size, 1, bias=False)
        )
        self.predictors = Head(2 * hidden_size, n_predictors)
        if n_predictors > 1:
            self.router = nn.LSTM(n_predictors, router_size, batch_first=True)
            self.choice = Head(2 * hidden_size + router_size, n_predictors)
            self.routes = Probe("predictors", "stock", "predictor")

    @property
    def n_predictors(self) -> int:
        """K, the number of predictors."""
        return self.predictors.out_features

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N].

        Raises:
            InputError: There is no memory, see `build_memory`.
        """
        h = self._encode(day.features)
        predictions = self.predictors(h)  # [N, K]
        if self.n_predictors == 1:
            single: Tensor = predictions.squeeze(-1)
            return single
        logits = self._route(h, self.recall(day))
        if self.routes.observed:
            self.routes((logits / self.tau).softmax(dim=1))
        scores: Tensor = (predictions * self._choose(logits)).sum(dim=1)
        return scores

    @property
    def is_pretraining(self) -> bool:
        """Whether the router does not learn in this epoch."""
        early = self.n_predictors > 1 and self.current_epoch < self.pretrain_epochs
        return early and not starts_trained(self.lineage)

    def loss(self, day: DayBatch) -> Tensor:
        """Return the loss of a day, []; 0 without labels."""
        h = self._encode(day.features)
        predictions = self.predictors(h)
        if self.n_predictors == 1:
            return self.criterion.on_day(predictions.squeeze(-1), day)
        weights = weights_of(day)
        known = is_known(day.labels, weights)
        errors = squared_errors(predictions, day.labels)
        past = self.recall(day)
        shares = transport(errors.detach(), past.mean(dim=1), known, self.alpha)
        if self.is_pretraining:
            known = known if weights is None else known * weights
            return weighted_mean((shares * errors).sum(dim=1), known.to(errors.dtype))
        logits = self._route(h, past)
        likelihood = (shares * (logits / self.tau).log_softmax(dim=1)).sum(dim=1)
        weight = self.router_weight * self.router_decay ** (self.global_step // 100)
        scores = (predictions * self._choose(logits)).sum(dim=1)
        fit = self.criterion.on_day(scores, day)
        return fit - weight * weighted_mean(likelihood, known.to(likelihood.dtype))

    def recall(self, day: DayBatch) -> Tensor:
        """Return the past losses of the stocks of a day, [N, L, K], oldest first.

        Raises:
            InputError: There is no memory, see `build_memory`.
        """
        if self.n_predictors == 1 or day.memory.shape[2]:
            return day.memory
        if self._past is None:
            raise InputError(
                "TRA has no memory: score with a Trainer and its data module, or call "
                "model.build_memory(data.train_days()) first"
            )
        self._past.fill(self._rows_before(int(day.date)), self._losses)
        return self._past.upto(day.date - self.delay, day.stocks, self.n_losses)

    def build_memory(self, train_days: DaySequence) -> None:
        """Start a new memory. Of `Days`, all days of the market are remembered when needed."""
        if isinstance(train_days, Days):
            self._past = PastLosses.of(train_days.panels, self.n_predictors)
        else:
            n_days = 1 + max(int(day.date) for day in train_days)
            n_stocks = 1 + max(int(day.stocks.max()) for day in train_days)
            self._past = PastLosses(n_days, n_stocks, self.n_predictors, device=self.device)
            for day in train_days:
                self._past.put(day, self._losses(day))
        self._made_of = ()

    def on_train_epoch_start(self) -> None:
        """Compute the memory with the current weights."""
        self._refresh("train")

    def on_validation_start(self) -> None:
        """Compute the memory with the current weights."""
        self._refresh("valid")

    def on_test_start(self) -> None:
        """Compute the memory with the current weights."""
        self._refresh("test")

    def on_predict_start(self) -> None:
        """Compute the memory with the current weights."""
        self._refresh("predict")

    def teardown(self, stage: str) -> None:
        """Move the memory to the CPU, as Lightning moves the model."""
        data = getattr(self.trainer, "datamodule", None)
        if self._past is not None and data is not None:
            self._past = self._past.moved(data.days("train").panels)
            self._made_of = ()

    def _refresh(self, segment: str) -> None:
        if self.n_predictors == 1:
            return
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            raise InputError(
                "TRA needs the days before each day: pass the Trainer a MarketDataModule, not a "
                "loader"
            )
        if self.delay < data.label.sell:
            raise InputError(
                f"model.delay={self.delay}, but a label is known after label.sell="
                f"{data.label.sell} days: expected at least {data.label.sell}"
            )
        days: Days = data.device_days(segment)
        origin = days.origin
        made_of = (weights_digest(self), origin[0], origin[2])  # panels and scaler, not rows
        if made_of != self._made_of:
            self.build_memory(days)
        start, processes = time.perf_counter(), self.trainer.world_size
        rows = sorted({before for row in days.rows for before in self._rows_before(row)})
        assert self._past is not None
        share = {"rank": self.global_rank, "processes": processes}
        count = self._past.fill(rows, self._losses, **share)
        self._made_of = made_of
        if count:
            log.info("memory of the losses of %d days: %.1f s", count, time.perf_counter() - start)

    def _rows_before(self, row: int) -> range:
        """Return the rows of the calendar whose losses the router reads on a day."""
        last = row - self.delay
        return range(max(0, last - self.n_losses + 1), last + 1)

    @torch.no_grad()
    def _losses(self, day: DayBatch) -> Tensor:
        """Return the scaled losses of the predictors on a day, [N, K]."""
        training = self.training
        self.eval()
        with torch.autocast(day.features.device.type, enabled=False):
            predictions = self.predictors(self._encode(day.features))
        self.train(training)
        return scale(squared_errors(predictions, day.labels)).float()

    def _encode(self, features: Tensor) -> Tensor:
        """Return the states of the stocks, [N, 2 H]."""
        outputs, last = self.encoder.rnn(self.input(features))  # [N, T, H]
        if isinstance(last, tuple):  # of an LSTM: h and c
            last = last[0]
        weights = self.attention(outputs).softmax(dim=1)  # [N, T, 1]
        return torch.cat([last.mean(dim=0), (weights * outputs).sum(dim=1)], dim=1)

    def _route(self, h: Tensor, past: Tensor) -> Tensor:
        """Return the logits of the predictors, [N, K]."""
        _, (last, _) = self.router(past.to(h.dtype))  # [1, N, router_size]
        logits: Tensor = self.choice(torch.cat([h, last.squeeze(0)], dim=1))
        return logits

    def _choose(self, logits: Tensor) -> Tensor:
        """Return the chosen predictor of each stock as one of K columns, [N, K]."""
        if not self.training:
            return largest(logits)
        if self.gumbel:
            return F.gumbel_softmax(logits, tau=self.tau, hard=True)
        soft = (logits / self.tau).softmax(dim=1)
        return largest(soft) - soft.detach() + soft
