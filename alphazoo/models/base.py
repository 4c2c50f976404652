"""StockModel: what every architecture shares. An author writes ``__init__`` and ``forward``."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self, cast

import lightning as L
import pandas as pd
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from alphazoo.bounds import NonNegativeFloat, PositiveFloat
from alphazoo.data.days import DayBatch
from alphazoo.errors import DivergedError, InputError
from alphazoo.files import read_checkpoint
from alphazoo.metrics import ScoreTable, summary

FIGURES = ("loss", "ic", "icir", "rank_ic", "rank_icir")


def daily_mse(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean squared error [] over the stocks of a day whose label [N] is finite; 0 without any."""
    known = labels.isfinite()
    errors = torch.where(known, scores - labels.nan_to_num(), 0.0)
    return errors.square().sum() / known.sum().clamp(min=1)


def _check_kind(checkpoint: Mapping[str, Any], kind: str, source: str) -> None:
    found = checkpoint["alphazoo"]["model"]
    if found != kind:
        raise InputError(f"{source} is that of a model {found}, here it is {kind}")


class StockModel(L.LightningModule, ABC):
    """Scores the stocks of a day; learns by the daily mean squared error; is judged by its IC.

    The constructor arguments of a subclass are saved in its checkpoint, so that
    ``load_from_checkpoint(path)`` needs nothing else.

    Args:
        lr: Learning rate.
        weight_decay: L2 penalty, as the optimiser defines it.

    Attributes:
        optimizer: Makes an optimiser from parameters, ``lr`` and ``weight_decay``.
        logged: Figures that training logs, which ``monitor`` can choose from.
        base: Where the encoder came from, see `alphazoo.warm_start`; None: from nowhere.
        lr_scheduler: A scheduler in the form of Lightning's ``configure_optimizers``, where
            ``scheduler`` makes it from the optimiser; None keeps the learning rate.
    """

    logged: Sequence[str] = ("train/loss", *(f"val/{figure}" for figure in FIGURES))
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam
    lr_scheduler: Mapping[str, Any] | None = None
    base: dict[str, Any] | None = None

    def __init__(self, *, lr: PositiveFloat, weight_decay: NonNegativeFloat) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.lr = lr
        self.weight_decay = weight_decay
        self.tables = nn.ModuleDict({name: ScoreTable() for name in ("val", "test", "predict")})
        self.losses = (
            MeanMetric()
        )  # of the train days; Lightning rounds the mean of days per process

    @abstractmethod
    def forward(self, day: DayBatch) -> Tensor:
        """Score the stocks of a day: [N]. Must not read ``labels`` or ``returns``."""

    def remember(self, train_days: Iterable[DayBatch]) -> None:
        """Learn from the train days what is not a weight; most models have no such thing.

        A model that has calls it from Lightning's hooks; call it yourself where no Trainer runs.
        """

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Self:
        """Make the model of a checkpoint; see Lightning for the arguments.

        Raises:
            InputError: The checkpoint is that of another model.
        """
        _check_kind(read_checkpoint(checkpoint_path), cls.__name__, str(checkpoint_path))
        return super().load_from_checkpoint(checkpoint_path, *args, **kwargs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say whose weights these are and where they came from."""
        checkpoint["alphazoo"] = {"model": type(self).__name__, "base": self.base}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the weights of another model."""
        _check_kind(checkpoint, type(self).__name__, "the checkpoint")
        self.base = checkpoint["alphazoo"]["base"]

    def configure_optimizers(self) -> Any:
        """Adam with the model's learning rate, unless the attributes say otherwise."""
        # without weights it still carries the learning rate, which a scheduler may change
        weights: list[Tensor] = [*self.parameters()] or [torch.zeros(())]
        try:
            optimizer = self.optimizer(weights, lr=self.lr, weight_decay=self.weight_decay)
        except (TypeError, ValueError) as error:
            raise InputError(f"cannot make the optimizer: {error}") from error
        if self.lr_scheduler is None:
            return optimizer
        make = self.lr_scheduler["scheduler"]
        return [optimizer], [{**self.lr_scheduler, "scheduler": make(optimizer)}]

    def training_step(self, day: DayBatch, index: int) -> Tensor:
        """Loss of one day; every day weighs the same."""
        scores = self(day)
        loss = daily_mse(scores, day.labels)
        if not loss.isfinite():
            raise DivergedError(self._explain(f"the loss is {loss.item()}", scores, day))
        self.losses.update(loss.detach(), day.labels.isfinite().any())  # not a repeated day's
        self.log("train/loss", self.losses, on_step=False, on_epoch=True, batch_size=1)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Begin a new table."""
        self._table("val").reset()

    def validation_step(self, day: DayBatch, index: int) -> None:
        """Score one valid day."""
        self._score("val", day)

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the valid days."""
        self._log_figures("val")

    def on_test_epoch_start(self) -> None:
        """Begin a new table."""
        self._table("test").reset()

    def test_step(self, day: DayBatch, index: int) -> None:
        """Score one test day."""
        self._score("test", day)

    def on_test_epoch_end(self) -> None:
        """Log the figures of the test days."""
        self._log_figures("test")

    def on_predict_epoch_start(self) -> None:
        """Begin a new table."""
        self._table("predict").reset()

    def predict_step(self, day: DayBatch, index: int) -> Tensor:
        """Score one day: [N]."""
        return self._score("predict", day)

    def on_predict_epoch_end(self) -> None:
        """Merge the scores while all processes are there."""
        self.scores("predict")

    def scores(self, name: str) -> pd.DataFrame:
        """The scores of the last pass over ``"val"``, ``"test"`` or ``"predict"``.

        Columns ``date`` (row of the calendar), ``stock`` (column of the universe), ``score``,
        ``label``, ``return``; of all processes, each row once.
        """
        return self._table(name).compute()

    def _table(self, name: str) -> ScoreTable:
        return cast("ScoreTable", self.tables[name])

    def _score(self, name: str, day: DayBatch) -> Tensor:
        scores: Tensor = self(day)
        if not scores.isfinite().all():
            raise DivergedError(self._explain("scores are not finite", scores, day))
        self._table(name).update(day, scores)
        return scores

    def _log_figures(self, name: str) -> None:
        figures = summary(self.scores(name))
        for figure in FIGURES:
            # the table is that of all processes already; sync_dist only says so to Lightning
            self.log(
                f"{name}/{figure}",
                figures[figure],
                prog_bar=figure in ("loss", "ic"),
                sync_dist=True,
            )

    def _explain(self, fault: str, scores: Tensor, day: DayBatch) -> str:
        market = getattr(getattr(self.trainer, "datamodule", None), "market", None)
        row = int(day.date)
        date = f"day {row}" if market is None else f"{market.dates[row]:%Y-%m-%d}"
        weights = "" if all(p.isfinite().all() for p in self.parameters()) else "not "
        return (
            f"{date}: {fault} in epoch {self.current_epoch}, step "
            f"{self.global_step}: {len(scores)} stocks, {int(day.labels.isfinite().sum())} with a "
            f"label, {int((~scores.isfinite()).sum())} scores not finite, largest feature "
            f"{float(day.features.abs().max()):.3g}, weights {weights}finite; try a smaller "
            f"model.lr (now {self.lr})"
        )
