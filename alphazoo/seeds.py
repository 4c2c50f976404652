"""What is drawn in an epoch is a function of seed and epoch: nothing of it has to be kept."""

from collections.abc import Iterator
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import RandomSampler

from alphazoo.data.days import Days


def epoch_seed(seed: int, epoch: int) -> int:
    """A seed for an epoch, as good as independent of those of all others."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


class SeedEpochs(L.Callback):
    """Seeds torch at the start of every train epoch: for dropout, and what else a model draws.

    Args:
        seed: That of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Before the model's own hook."""
        torch.manual_seed(epoch_seed(self.seed, trainer.current_epoch))


class ShuffledDays(RandomSampler):
    """Days in an order that is a function of the seed that torch has now, and of the epoch.

    Where the days are split over processes Lightning takes a sampler of its own, of which the same
    is true.
    """

    def __init__(self, days: Days) -> None:
        super().__init__(days, generator=torch.Generator())
        self.seed = torch.initial_seed()
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning says which epoch begins."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(epoch_seed(self.seed, self.epoch))
        yield from super().__iter__()
