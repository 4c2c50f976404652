"""Random draws of an epoch depend only on the seed and the epoch, so no random state is saved."""

from collections.abc import Iterator
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import DistributedSampler

from alphazoo.data.days import DayBatch, Days, Repeat


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """Return a seed for an epoch, practically independent of the seeds of all other epochs.

    Args:
        seed: Seed of the run.
        epoch: Epoch, counted from 0.
        rank: Rank of the process; each of several processes has its own seed.
    """
    entropy = [seed, epoch, rank] if rank else [seed, epoch]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


class SeedEpochs(L.Callback):
    """Seeds torch at the start of every training epoch, for dropout and other random draws.

    Args:
        seed: Seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Seed torch; this runs before the model's own hook."""
        torch.manual_seed(epoch_seed(self.seed, trainer.current_epoch, trainer.global_rank))


class ShuffledDays(DistributedSampler[DayBatch]):
    """Days in an order that depends only on the seed and the epoch.

    The processes take turns: one step of n processes has the days of n steps of a single process.
    If the days cannot be divided equally, some processes get a `Repeat` in the last step.

    Args:
        days: Days of one epoch.
        seed: Seed of the run, the same in all processes.
        processes: Number of processes that the days are split over.
        rank: Rank of this process.
    """

    def __init__(self, days: Days, *, seed: int, processes: int, rank: int) -> None:
        seed = epoch_seed(seed, 0)  # the base class adds the epoch to it
        super().__init__(days, num_replicas=processes, rank=rank, seed=seed)

    def __iter__(self) -> Iterator[Any]:
        """Draw the order when the first day is requested, because Lightning sets the epoch late."""
        *first, last = super().__iter__()
        yield from first
        place = self.rank + len(first) * self.num_replicas
        yield last if place < len(self.dataset) else Repeat(last)  # type: ignore[arg-type]
