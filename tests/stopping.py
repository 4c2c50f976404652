"""Training runs that stop in the middle of an epoch."""

from collections.abc import Iterator
from contextlib import contextmanager

import lightning as L
import pytest


class StoppedError(Exception):
    pass


class StopAt(L.Callback):
    """Ends a training in the middle of an epoch, without a word to anybody else."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if trainer.current_epoch == self.epoch:
            raise StoppedError


@contextmanager
def stopped_in(epoch: int) -> Iterator[None]:
    """Trainings end in an epoch."""
    with pytest.MonkeyPatch.context() as patch:
        init = L.Trainer.__init__

        def stopping(self: L.Trainer, *arguments: object, **options: object) -> None:
            options["callbacks"] = [*options["callbacks"], StopAt(epoch)]  # type: ignore[misc]
            init(self, *arguments, **options)  # type: ignore[arg-type]

        patch.setattr(L.Trainer, "__init__", stopping)
        with pytest.raises(StoppedError):
            yield
