"""Averages of a model's weights, by which it is validated, kept and scored.

EpochAverage: Izmailov et al., "Averaging weights leads to wider optima and better generalization",
UAI 2018. https://arxiv.org/abs/1803.05407
"""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn

from alphazoo.errors import InputError


class Averaging(WeightAveraging):
    """Lightning's averaging: valid figures, checkpoints and the end of a fit are of the average.

    What differs: the weights are exchanged before the model's own hook of validation, in which a
    model may compute with them; and where no fit runs they are those of the checkpoint, which are
    an average already.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Make the average, of the weights that the fit starts from.

        Raises:
            InputError: The model has no weights.
        """
        if stage == "fit" and not [*pl_module.parameters()]:
            raise InputError(
                f"{type(pl_module).__name__} has no weights to average: take averaging=none"
            )
        super().setup(trainer, pl_module, stage)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validate the average."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Done already."""

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Go on with the weights."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_validation_epoch_end(trainer, pl_module)

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take the average and the weights of a training that goes on."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)


class MovingAverage(Averaging):
    """After every step average = decay average + (1 - decay) weights, from those of the first step.

    Args:
        decay: Below 1; 0.999 forgets half in 693 steps.
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise InputError(f"averaging.decay is from 0 to below 1, got {decay}")
        super().__init__(avg_fn=get_ema_avg_fn(decay))  # type: ignore[no-untyped-call]


class EpochAverage(Averaging):
    """The mean of the weights at the end of each epoch, from some epoch on; before it, the weights.

    The learning rate is that of the scheduler: the authors keep it high while they average.

    Args:
        start: Share of ``trainer.max_epochs`` that is left out.
    """

    def __init__(self, start: float) -> None:
        super().__init__()
        if not 0 <= start < 1:
            raise InputError(f"averaging.start is from 0 to below 1, got {start}")
        self.start = start

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        """Take the weights after the last step of an epoch, which are validated next."""
        if trainer.is_last_batch:
            self.take(trainer, pl_module)

    def take(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the weights of an epoch to the average."""
        if trainer.current_epoch <= int(self.start * (trainer.max_epochs or 0)):
            self.average.n_averaged.zero_()  # so that it is a copy
        self.average.update_parameters(pl_module)

    @property
    def average(self) -> AveragedModel:
        """The model with the average of the weights."""
        if self._average_model is None:
            raise RuntimeError("there is an average while a Trainer fits")
        return self._average_model


class LastEpochsAverage(EpochAverage):
    """The mean of the weights at the end of the last epochs, so many as there are.

    Args:
        k: Epochs.
    """

    def __init__(self, k: int) -> None:
        super().__init__(start=0.0)
        if k < 1:
            raise InputError(f"averaging.k is 1 or more, got {k}")
        self.k = k
        self.recent: list[list[Tensor]] = []  # parameters at the end of the last epochs

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Make the average, without epochs of an earlier fit."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self.recent = []

    @torch.no_grad()
    def take(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the weights of an epoch, and forget those that are k epochs old."""
        self.average.n_averaged.zero_()
        self.average.update_parameters(pl_module)  # buffers, too, are those of now
        now = [weight.detach().clone() for weight in pl_module.parameters()]
        self.recent = [*self.recent, now][-self.k :]
        for average, *weights in zip(self.average.module.parameters(), *self.recent, strict=True):
            average.copy_(torch.stack([w.to(average.device) for w in weights]).mean(dim=0))

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep what the next averages need."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        checkpoint["recent_weights"] = self.recent

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take what the next averages need."""
        super().on_load_checkpoint(trainer, pl_module, checkpoint)
        if trainer.state.fn == TrainerFn.FITTING:
            self.recent = checkpoint["recent_weights"]
