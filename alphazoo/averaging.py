"""Weight averaging: the averaged weights are validated, saved and used for scoring.

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
    """Lightning's weight averaging: validation, checkpoints and the fitted model use the average.

    It differs from Lightning's in two points. The weights are swapped before the model's own
    validation hook, which may compute with them. Outside of a fit, the weights are those of the
    checkpoint, which are already averaged.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Create the average from the weights at the start of the fit.

        Raises:
            InputError: The model has no weights.
        """
        if stage == "fit" and not [*pl_module.parameters()]:
            raise InputError(
                f"{type(pl_module).__name__} has no weights to average: use averaging=none"
            )
        super().setup(trainer, pl_module, stage)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Swap in the average, to validate it."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Do nothing; `on_validation_start` has already swapped the weights."""

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Swap the current weights back in."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_validation_epoch_end(trainer, pl_module)

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Load the average and the current weights of a resumed run."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)


class MovingAverage(Averaging):
    """A moving average over the steps: average = decay average + (1 - decay) weights.

    It starts from the weights after the first step.

    Args:
        decay: Decay rate, from 0 to below 1; 0.999 has a half-life of 693 steps.
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise InputError(f"averaging.decay must be at least 0 and below 1, got {decay}")
        super().__init__(avg_fn=get_ema_avg_fn(decay))  # type: ignore[no-untyped-call]


class EpochAverage(Averaging):
    """The mean of the weights at the end of each epoch, starting with a given epoch.

    Before that epoch, the average equals the current weights. The scheduler sets the learning rate;
    the authors keep it high while they average.

    Args:
        start: Fraction of ``trainer.max_epochs`` before averaging starts, from 0 to below 1.
    """

    def __init__(self, start: float) -> None:
        super().__init__()
        if not 0 <= start < 1:
            raise InputError(f"averaging.start must be at least 0 and below 1, got {start}")
        self.start = start

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        """Update the average after the last step of an epoch, before it is validated."""
        if trainer.is_last_batch:
            self.take(trainer, pl_module)

    def take(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the current weights to the average."""
        if trainer.current_epoch <= int(self.start * (trainer.max_epochs or 0)):
            self.average.n_averaged.zero_()  # the update then copies the weights
        self.average.update_parameters(pl_module)

    @property
    def average(self) -> AveragedModel:
        """The model that holds the averaged weights."""
        if self._average_model is None:
            raise RuntimeError("the average exists only while a Trainer fits the model")
        return self._average_model


class LastEpochsAverage(EpochAverage):
    """The mean of the weights at the end of the last k epochs, or of all epochs if there are fewer.

    Args:
        k: Number of epochs, at least 1.
    """

    def __init__(self, k: int) -> None:
        super().__init__(start=0.0)
        if k < 1:
            raise InputError(f"averaging.k must be at least 1, got {k}")
        self.k = k
        self.recent: list[list[Tensor]] = []  # parameters at the end of the last epochs

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Make the average, without epochs of an earlier fit."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self.recent = []

    @torch.no_grad()
    def take(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the current weights to the average, and drop those that are k epochs old."""
        self.average.n_averaged.zero_()
        self.average.update_parameters(pl_module)  # copies the current buffers, too
        now = [weight.detach().clone() for weight in pl_module.parameters()]
        self.recent = [*self.recent, now][-self.k :]
        for average, *weights in zip(self.average.module.parameters(), *self.recent, strict=True):
            average.copy_(torch.stack([w.to(average.device) for w in weights]).mean(dim=0))

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the weights of the last epochs, which the next averages need."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        checkpoint["recent_weights"] = self.recent

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Load the weights of the last epochs, which the next averages need."""
        super().on_load_checkpoint(trainer, pl_module, checkpoint)
        if trainer.state.fn == TrainerFn.FITTING:
            self.recent = checkpoint["recent_weights"]
