"""IGMTF: a stock learns from similar stocks on the training days most similar to today.

Xu et al., "Instance-wise graph-based framework for multivariate time series forecasting", 2021.
https://arxiv.org/abs/2109.06489
"""

import logging
import time

import torch
from torch import Tensor, nn

from alphazoo.bounds import NonNegativeFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch, Days, DaySequence
from alphazoo.errors import InputError
from alphazoo.models.base import StockModel
from alphazoo.models.cosine import cosines
from alphazoo.models.encoder import Encoder
from alphazoo.models.head import Head
from alphazoo.models.memory import Memory, merge, weights_digest
from alphazoo.models.probe import Probe

CELLS = 2**24  # of a matrix of cosines; 64 MB

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

    differentiable = False
    _memory: Memory | None = None
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
        self.nearest_days = Probe("neighbours", "day")
        self.neighbours = Probe("neighbours", "stock", "neighbour")
        self.head = Head(2 * hidden_size)

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]; the stocks are scored jointly.

        Raises:
            InputError: The memory has not been built, see `build_memory`.
        """
        g = self._states(day)  # [N, H]
        memory, days, seen = self._recall(day.date, g.detach().mean(dim=0))
        rows, used = memory.take(days, seen)  # [R, H], [R]
        keys, query = self.key(self.layers(rows)), self.query(g)
        best, nearest = self._find_neighbours(query, keys, used)  # [N, k]
        found = best > -torch.inf
        near = keys[nearest]  # [N, k, H]
        norms = query.norm(dim=1, keepdim=True) * near.norm(dim=2)
        cosine = torch.einsum("nh,nkh->nk", query, near) / (norms + 1e-6)
        if self.neighbours.observed:
            dates, stocks = memory.origin(days)
            self.neighbours(
                cosine.where(found, 0.0), other_date=dates[nearest], other=stocks[nearest]
            )
        learned = torch.einsum("nk,nkh->nh", cosine.where(found, 0.0), near)
        learned = learned / found.sum(dim=1, keepdim=True).clamp(min=1)
        scores: Tensor = self.head(torch.cat([g, learned], dim=1))
        return scores.squeeze(-1)

    @torch.no_grad()  # gradients flow only through the neighbours found
    def _find_neighbours(self, query: Tensor, keys: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cosines with the most similar keys, and their rows, [N, k] each.

        A large day is compared in blocks, whose matrices are small; an exported model has no loop.
        """
        k = min(self.n_neighbor, len(keys))
        whole = torch.compiler.is_exporting()
        blocks = [query] if whole else torch.split(query, max(1, CELLS // len(keys)))
        found = [
            cosines(block, keys).masked_fill_(~used, -torch.inf).topk(k, dim=1) for block in blocks
        ]
        best, nearest = (torch.cat(parts) for parts in zip(*found, strict=True))
        return best, nearest

    def build_memory(self, train_days: DaySequence) -> None:
        """Build the memory from all training days.

        Raises:
            InputError: There are fewer days than ``k_day``, or fewer rows than ``n_neighbor``.
        """
        self._keep(self._states_of(train_days))

    @torch.no_grad()
    def _states_of(self, train_days: DaySequence) -> Memory:
        if isinstance(train_days, Days):
            counts = train_days.counts
        else:
            counts = [len(day.stocks) for day in train_days]
        memory = Memory(counts, self.head.in_features // 2, self.device)
        training = self.training
        self.eval()
        for place, day in enumerate(train_days):
            memory.put(place, day.date, day.stocks, self._states(day))
        self.train(training)
        return memory

    def _keep(self, memory: Memory) -> None:
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
        made_of = (weights_digest(self), self.device, days.origin)
        if made_of != self._made_of:
            start, processes = time.perf_counter(), self.trainer.world_size
            if len(days) < processes:
                raise InputError(
                    f"IGMTF needs a training day per process, got {len(days)} training days for "
                    f"{processes} processes"
                )
            share = days.rows[self.global_rank :: processes]
            self._keep(merge(self._states_of(Days(share, days.panels))))
            self._made_of = made_of
            log.info("memory of %d training days: %.1f s", len(days), time.perf_counter() - start)

    def _states(self, day: DayBatch) -> Tensor:
        states: Tensor = self.layers(self.encoder(day.features)[:, -1])
        return states

    def _recall(self, date: Tensor, mean: Tensor) -> tuple[Memory, Tensor, Tensor]:
        """Return the memory, the places in it of the most similar training days, and a mask.

        The mask is false for days that this day must not see.
        """
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
        seen = best > -torch.inf
        if self.nearest_days.observed:
            self.nearest_days(best[seen], other_date=memory.dates[days[seen]])
        return memory, days, seen
