"""IGMTF: a stock learns from similar stocks on the training days most similar to today.

Xu et al., "Instance-wise graph-based framework for multivariate time series forecasting", 2021.
https://arxiv.org/abs/2109.06489
"""

import logging
import time
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn
from torchmetrics.utilities.distributed import gather_all_tensors

from alphazoo.bounds import NonNegativeFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch, Days, DaySequence
from alphazoo.errors import InputError
from alphazoo.models.base import StockModel
from alphazoo.models.cosine import cosines
from alphazoo.models.encoder import Encoder
from alphazoo.models.head import Head

log = logging.getLogger(__name__)


class IGMTF(StockModel):
    """A linear head on a stock's state and the states of its neighbours on the training days.

    The state g of a stock is the output of two layers on its last hidden state. The memory holds g
    of all stocks on all training days. For a given day::

        days = the k_day training days whose mean g has the highest cosine with that of this day
        M = the two layers, applied once more, to the rows of these days
        neighbours of stock n = the n_neighbor rows m with the highest cosine of P1 g_n and P2 M_m
        score = head [g_n, mean over its neighbours of cosine times P2 M_m]

    The memory depends only on the weights and the training days. It is rebuilt at the start of each
    epoch and before validation, test and prediction, and is never stored; each of several processes
    builds a share. As in Qlib's benchmark, a training day finds itself and later training days in
    the memory (their features, not their labels); ``exclude_self`` and ``causal_memory`` exclude
    them. The authors' code does not pass the memory through the layers again. Qlib's code fails if
    all days have the same number of stocks.

    Args:
        n_features: F, number of features per day.
        cell: ``"lstm"`` or ``"gru"``.
        hidden_size: H, width of the encoder and of all later layers.
        num_layers: Number of recurrent layers.
        dropout: Dropout rate between the recurrent layers.
        k_day: Number of training days whose rows are searched for neighbours.
        n_neighbor: Number of neighbours per stock.
        exclude_self: Exclude a training day from its own search.
        causal_memory: Search only earlier days.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

    _memory: "_Memory | None" = None
    _made_of: tuple[object, ...] = ()  # the weights and train days that the memory was made of

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
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        if k_day < 1 or n_neighbor < 1:
            raise InputError(
                f"model.k_day and model.n_neighbor must be at least 1, got {k_day} and {n_neighbor}"
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
        self.head = Head(2 * hidden_size)

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]; the stocks are scored jointly.

        Raises:
            InputError: The memory has not been built, see `build_memory`.
        """
        g = self._states(day)  # [N, H]
        rows = self._recall(day.date, g.detach().mean(dim=0))  # [R, H]
        keys, query = self.key(self.layers(rows)), self.query(g)
        with torch.no_grad():  # gradients flow only through the neighbours found
            k = min(self.n_neighbor, len(rows))
            nearest = cosines(query, keys).topk(k, dim=1).indices  # [N, k]
        near = keys[nearest]  # [N, k, H]
        norms = query.norm(dim=1, keepdim=True) * near.norm(dim=2)
        cosine = torch.einsum("nh,nkh->nk", query, near) / (norms + 1e-6)
        learned = torch.einsum("nk,nkh->nh", cosine, near) / max(1, k)
        scores: Tensor = self.head(torch.cat([g, learned], dim=1))
        return scores.squeeze(-1)

    def build_memory(self, train_days: DaySequence) -> None:
        """Build the memory from all training days.

        Raises:
            InputError: There are fewer days than ``k_day``, or fewer rows than ``n_neighbor``.
        """
        self._keep(self._states_of(train_days))

    @torch.no_grad()
    def _states_of(self, train_days: DaySequence) -> "_Memory":
        if isinstance(train_days, Days):
            counts = train_days.counts
        else:
            counts = [len(day.stocks) for day in train_days]
        memory = _Memory(counts, self.head.in_features // 2, self.device)
        training = self.training
        self.eval()
        for place, day in enumerate(train_days):
            memory.put(place, day.date, self._states(day))
        self.train(training)
        return memory

    def _keep(self, memory: "_Memory") -> None:
        others = len(memory.dates) - self.exclude_self
        if self.k_day > others:
            raise InputError(f"model.k_day={self.k_day}, but the memory has {others} training days")
        if self.n_neighbor > memory.rows.shape[0]:
            raise InputError(
                f"model.n_neighbor={self.n_neighbor}, but the memory has "
                f"{memory.rows.shape[0]} rows"
            )
        self._memory, self._made_of = memory, ()

    def on_train_epoch_start(self) -> None:
        """Build the memory with the current weights."""
        self._refresh()

    def on_validation_start(self) -> None:
        """Build the memory with the current weights."""
        self._refresh()

    def on_test_start(self) -> None:
        """Build the memory with the current weights."""
        self._refresh()

    def on_predict_start(self) -> None:
        """Build the memory with the current weights."""
        self._refresh()

    def _refresh(self) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            raise InputError(
                "IGMTF needs all training days: pass the Trainer a MarketDataModule, not a loader"
            )
        days = data.train_days()
        weights = torch.cat([p.detach().flatten() for p in self.parameters()])
        made_of = (_digest(weights), self.device, days.origin)
        if made_of != self._made_of:
            start, processes = time.perf_counter(), self.trainer.world_size
            if len(days) < processes:
                raise InputError(
                    f"IGMTF needs a training day per process, got {len(days)} training days for "
                    f"{processes} processes"
                )
            share = days.rows[self.global_rank :: processes]
            self._keep(_merge(self._states_of(Days(share, days.panels))))
            self._made_of = made_of
            log.info("memory of %d training days: %.1f s", len(days), time.perf_counter() - start)

    def _states(self, day: DayBatch) -> Tensor:
        states: Tensor = self.layers(self.encoder(day.features)[:, -1])
        return states

    def _recall(self, date: Tensor, mean: Tensor) -> Tensor:
        """Return the memory's rows of the training days most similar to a day, [R, H]."""
        memory = self._memory
        if memory is None:
            raise InputError(
                "IGMTF has no memory: score with a Trainer and its data module, or call "
                "model.build_memory(data.train_days()) first"
            )
        similarity = cosines(mean.unsqueeze(0), memory.means)[0]  # [days]
        if self.causal_memory:
            similarity = similarity.masked_fill(memory.dates >= date, -torch.inf)
        elif self.exclude_self:
            similarity = similarity.masked_fill(memory.dates == date, -torch.inf)
        best, days = similarity.topk(self.k_day)
        found = days[best > -torch.inf].tolist()
        return torch.cat([memory.take(place) for place in found] or [memory.rows[:0]])


def _merge(memory: "_Memory") -> "_Memory":
    """Gather the days of all processes, each of which holds a share; sort them by date."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return memory
    counts = torch.tensor(memory.counts, device=memory.rows.device)
    dates, rows, gathered = (
        torch.cat(gather_all_tensors(values)) for values in (memory.dates, memory.rows, counts)
    )
    parts = torch.split(rows, gathered.tolist())
    order = dates.argsort().tolist()
    merged = _Memory([len(parts[day]) for day in order], rows.shape[1], rows.device)
    for place, day in enumerate(order):
        merged.put(place, dates[day], parts[day])
    return merged


def _digest(tensor: Tensor) -> int:
    return hash(tensor.cpu().numpy().tobytes())


class _Memory:
    """States of all stocks on many days, one day after the other, in arrays allocated once.

    Attributes:
        counts: Number of stocks of each day.
        rows: [R, H], one per stock and day.
        means: [days, H], mean over the stocks of each day.
        dates: [days], rows of the calendar.
    """

    def __init__(self, counts: Sequence[int], width: int, device: torch.device) -> None:
        self.counts = counts
        self._starts = [0, *accumulate(counts)]
        self.rows = torch.empty(self._starts[-1], width, device=device)
        self.means = torch.empty(len(counts), width, device=device)
        self.dates = torch.empty(len(counts), dtype=torch.long, device=device)

    def put(self, place: int, date: Tensor, states: Tensor) -> None:
        """Store the states of a day, [N, H]."""
        self.take(place)[:] = states
        self.means[place] = states.mean(dim=0)
        self.dates[place] = date

    def take(self, place: int) -> Tensor:
        """Return the rows of a day, [N, H]."""
        return self.rows[self._starts[place] : self._starts[place + 1]]
