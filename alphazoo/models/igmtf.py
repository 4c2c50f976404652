"""IGMTF: a stock learns from the stocks it resembles on the train days most like today.

Xu et al., "Instance-wise graph-based framework for multivariate time series forecasting", 2021.
https://arxiv.org/abs/2109.06489
"""

import logging
import time
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torchmetrics.utilities.distributed import gather_all_tensors

from alphazoo.bounds import NonNegativeFloat, PositiveFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch, Days
from alphazoo.errors import InputError
from alphazoo.models.base import StockModel
from alphazoo.models.cosine import cosines
from alphazoo.models.encoder import Encoder

log = logging.getLogger(__name__)

StatesByDay = list[tuple[Tensor, Tensor]]  # row of the calendar [], states [N, H]


class IGMTF(StockModel):
    """A linear score of a stock's state and of those of its neighbours in the train days.

    The state g of a stock is two layers on its last hidden state. The memory holds g of all stocks
    of all train days. For a day::

        days = the k_day train days whose mean g has the highest cosine with that of this day
        M = the two layers, once more, on their rows
        neighbours of stock n = the n_neighbor rows m with the highest cosine of P1 g_n and P2 M_m
        score = head [g_n, mean over its neighbours of cosine times P2 M_m]

    The memory is a function of the weights and the train days: it is made again at the start of an
    epoch and before valid, test and predict days, by each of several processes a share, and never
    stored. As in Qlib's benchmark, a train day finds itself in the memory, and later train days,
    too (their features, not their labels): ``exclude_self`` and ``causal_memory`` leave them out.
    The authors' code does not pass the memory through the layers again. Qlib's fails when all days
    have as many stocks.

    Args:
        n_features: F, features per day.
        cell: ``"lstm"`` or ``"gru"``.
        hidden_size: H, width of the encoder and of all that follows.
        num_layers: Recurrent layers.
        dropout: Between the recurrent layers.
        k_day: Train days that a day looks at.
        n_neighbor: Rows of these that a stock learns from.
        exclude_self: A train day does not look at itself.
        causal_memory: A day looks at earlier days only.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

    _memory: "_Memory | None" = None
    _made_of: tuple[object, ...] = ()  # the weights and data that the memory was made of

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        cell: str,
        hidden_size: PositiveInt,
        num_layers: PositiveInt,
        dropout: Probability,
        k_day: int,
        n_neighbor: int,
        exclude_self: bool,
        causal_memory: bool,
        lr: PositiveFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        if k_day < 1 or n_neighbor < 1:
            raise InputError(
                f"model.k_day and n_neighbor are 1 or more, got {k_day} and {n_neighbor}"
            )
        self.encoder = Encoder(
            cell=cell,
            n_features=n_features,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
        )
        self.k_day = k_day
        self.n_neighbor = n_neighbor
        self.exclude_self = exclude_self
        self.causal_memory = causal_memory
        self.layers = nn.Sequential(
            nn.Linear(hidden_size, hidden_size),
            nn.LeakyReLU(),
            nn.Linear(hidden_size, hidden_size),
            nn.LeakyReLU(),
        )
        self.query = nn.Linear(hidden_size, hidden_size, bias=False)  # P1
        self.key = nn.Linear(hidden_size, hidden_size, bias=False)  # P2
        self.head = nn.Linear(2 * hidden_size, 1)

    def forward(self, day: DayBatch) -> Tensor:
        """Score the stocks of a day together: [N].

        Raises:
            InputError: There is no memory yet, see `remember`.
        """
        g = self._states(day)  # [N, H]
        rows = self._recall(day.date, g.detach().mean(dim=0))  # [R, H]
        keys, query = self.key(self.layers(rows)), self.query(g)
        with torch.no_grad():  # a gradient reaches the neighbours alone
            k = min(self.n_neighbor, len(rows))
            nearest = cosines(query, keys).topk(k, dim=1).indices  # [N, k]
        near = keys[nearest]  # [N, k, H]
        norms = query.norm(dim=1, keepdim=True) * near.norm(dim=2)
        cosine = torch.einsum("nh,nkh->nk", query, near) / (norms + 1e-6)
        learned = torch.einsum("nk,nkh->nh", cosine, near) / max(1, k)
        scores: Tensor = self.head(torch.cat([g, learned], dim=1))
        return scores.squeeze(-1)

    def remember(self, train_days: Iterable[DayBatch]) -> None:
        """Make the memory of all train days.

        Raises:
            InputError: They are too few for ``k_day``, or their rows for ``n_neighbor``.
        """
        self._keep(self._states_of(train_days))

    @torch.no_grad()
    def _states_of(self, train_days: Iterable[DayBatch]) -> StatesByDay:
        training = self.training
        self.eval()
        days = [(day.date, self._states(day)) for day in train_days]
        self.train(training)
        return days

    def _keep(self, days: StatesByDay) -> None:
        memory = _Memory(days)
        others = len(days) - self.exclude_self
        if self.k_day > others:
            raise InputError(f"model.k_day={self.k_day}, but the memory has {others} train days")
        if self.n_neighbor > memory.rows.shape[0]:
            raise InputError(
                f"model.n_neighbor={self.n_neighbor}, but the memory has "
                f"{memory.rows.shape[0]} rows"
            )
        self._memory, self._made_of = memory, ()

    def on_train_epoch_start(self) -> None:
        """Make the memory with the weights of now."""
        self._refresh()

    def on_validation_start(self) -> None:
        """Make the memory with the weights of now."""
        self._refresh()

    def on_test_start(self) -> None:
        """Make the memory with the weights of now."""
        self._refresh()

    def on_predict_start(self) -> None:
        """Make the memory with the weights of now."""
        self._refresh()

    def _refresh(self) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            raise InputError(
                "IGMTF remembers train days: give the Trainer a MarketDataModule, not a loader"
            )
        days = data.train_days()
        weights = torch.cat([p.detach().flatten() for p in self.parameters()])
        made_of = (_digest(weights), self.device, len(days), _digest(days[0].features))
        if made_of != self._made_of:  # other weights, device or data
            start, processes = time.perf_counter(), self.trainer.world_size
            if len(days) < processes:
                raise InputError(f"{processes} processes have {len(days)} train days to remember")
            share = days.rows[self.global_rank :: processes]
            self._keep(_merge(self._states_of(Days(share, days.panels))))
            self._made_of = made_of
            log.info("memory of %d train days: %.1f s", len(days), time.perf_counter() - start)

    def _states(self, day: DayBatch) -> Tensor:
        states: Tensor = self.layers(self.encoder(day.features)[:, -1])
        return states

    def _recall(self, date: Tensor, mean: Tensor) -> Tensor:
        """Rows of the train days most like a day: [R, H]."""
        memory = self._memory
        if memory is None:
            raise InputError(
                "IGMTF has no memory: score with a Trainer and its data module, or call "
                "model.remember(data.train_days()) first"
            )
        similarity = cosines(mean.unsqueeze(0), memory.means)[0]  # [days]
        if self.causal_memory:
            similarity = similarity.masked_fill(memory.dates >= date, -torch.inf)
        elif self.exclude_self:
            similarity = similarity.masked_fill(memory.dates == date, -torch.inf)
        best, days = similarity.topk(self.k_day)
        return memory.take(days[best > -torch.inf])


def _merge(days: StatesByDay) -> "StatesByDay":
    """Those of all processes, each of which has some of the days; in the order of the calendar."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return days
    device = days[0][1].device
    counts = torch.tensor([len(states) for _, states in days], device=device)
    dates = torch.cat(gather_all_tensors(torch.stack([date for date, _ in days])))
    rows = torch.cat(gather_all_tensors(torch.cat([states for _, states in days])))
    parts = torch.split(rows, torch.cat(gather_all_tensors(counts)).tolist())
    return [(dates[place], parts[place]) for place in dates.argsort().tolist()]


def _digest(tensor: Tensor) -> int:
    return hash(tensor.cpu().numpy().tobytes())


class _Memory:
    """States of the stocks of many days, day after day.

    Attributes:
        rows: [R, H], of all stocks of all days.
        means: [days, H], over the stocks of each day.
        dates: [days], rows of the calendar.
    """

    def __init__(self, days: StatesByDay) -> None:
        self.rows = torch.cat([states for _, states in days])
        self.means = torch.stack([states.mean(dim=0) for _, states in days])
        self.dates = torch.stack([date for date, _ in days])
        counts = [len(states) for _, states in days]
        self._starts = torch.tensor([0, *counts]).cumsum(0).tolist()

    def take(self, days: Tensor) -> Tensor:
        """Rows of some of the days: [R, H]."""
        parts = [self.rows[self._starts[day] : self._starts[day + 1]] for day in days.tolist()]
        return torch.cat(parts) if parts else self.rows[:0]
