"""What is drawn in an epoch is a function of seed and epoch: nothing of it has to be kept."""

from collections.abc import Iterator
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import DistributedSampler

from alphazoo.data.days import DayBatch, Days, Repeat


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """A seed for an epoch, as good as independent of those of all others.

    Args:
        seed: That of the run.
        epoch: From 0.
        rank: Of several processes each has its own.
    """
    entropy = [seed, epoch, rank] if rank else [seed, epoch]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


class SeedEpochs(L.Callback):
    """Seeds torch at the start of every train epoch: for dropout, and what else a model draws.

    Args:
        seed: That of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Before the model's own hook."""
        torch.manual_seed(epoch_seed(self.seed, trainer.current_epoch, trainer.global_rank))


class ShuffledDays(DistributedSampler[DayBatch]):
    """Days in an order that is a function of seed and epoch.

    The processes take turns, so that those of one step have the days that one process would have
    in as many. Where the days do not go round, the last step has a `Repeat` for some of them.

    Args:
        days: Of one epoch.
        seed: The same for all processes.
        processes: How many the days are split over.
        rank: Which of them this is.
    """

    def __init__(self, days: Days, *, seed: int, processes: int, rank: int) -> None:
        seed = epoch_seed(seed, 0)  # to which the epoch is added
        super().__init__(days, num_replicas=processes, rank=rank, seed=seed)

    def __iter__(self) -> Iterator[Any]:
        """Drawn when the first day is asked for; Lightning asks earlier than it says the epoch."""
        *first, last = super().__iter__()
        yield from first
        place = self.rank + len(first) * self.num_replicas
        yield last if place < len(self.dataset) else Repeat(last)  # type: ignore[arg-type]
