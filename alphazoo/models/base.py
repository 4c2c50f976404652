"""StockModel, the base class of all models: a subclass defines ``__init__`` and ``forward``."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self, cast

import lightning as L
import pandas as pd
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from alphazoo.bounds import NonNegativeFloat
from alphazoo.data.days import DayBatch
from alphazoo.data.lineage import Lineage, read_lineage
from alphazoo.errors import DivergedError, InputError
from alphazoo.metrics import ScoreTable, summary
from alphazoo.models.checkpoint import read_checkpoint
from alphazoo.models.probe import Shown, find_probes, show

METRICS = ("loss", "ic", "icir", "rank_ic", "rank_icir")


def daily_mse(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared error, a scalar, over stocks with a finite label [N]; 0 if none."""
    known = labels.isfinite()
    errors = torch.where(known, scores - labels.nan_to_num(), 0.0)
    return errors.square().sum() / known.sum().clamp(min=1)


def _check_kind(checkpoint: Mapping[str, Any], kind: str, source: str) -> None:
    found = checkpoint["alphazoo"]["model"]
    if found != kind:
        raise InputError(f"{source} holds a {found} model, expected {kind}")


class StockModel(L.LightningModule, ABC):
    """Scores the stocks of a day; trained on the daily mean squared error and evaluated by IC.

    The constructor arguments of a subclass are saved in its checkpoint, so
    ``load_from_checkpoint(path)`` needs no other arguments.

    Args:
        lr: Learning rate.
        weight_decay: L2 penalty, as the optimiser defines it.

    Attributes:
        optimizer: Creates an optimiser from parameters, ``lr`` and ``weight_decay``.
        logged_metrics: Names of the metrics that training logs; ``monitor`` must be one of them.
        lineage: The checkpoints that the weights came from, see `alphazoo.data.lineage`.
        differentiable: Whether the gradient of a score with respect to the features explains it.
            False for trees, and for networks that choose what they read, such as the k nearest.
        lr_scheduler: A scheduler dictionary as for Lightning's ``configure_optimizers``, except
            that ``scheduler`` is called with the optimiser; None keeps the learning rate constant.
    """

    logged_metrics: Sequence[str] = ("train/loss", *(f"val/{figure}" for figure in METRICS))
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam
    lr_scheduler: Mapping[str, Any] | None = None
    differentiable: bool = True

    def __init__(self, *, lr: NonNegativeFloat, weight_decay: NonNegativeFloat) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.lr = lr
        self.weight_decay = weight_decay
        self.lineage: Lineage = []
        self.tables = nn.ModuleDict({name: ScoreTable() for name in ("val", "test", "predict")})
        # over training days; Lightning's own mean would round the number of days per process
        self.losses = MeanMetric()

    @abstractmethod
    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]. Must not read ``labels`` or ``returns``."""

    def build_memory(self, train_days: Iterable[DayBatch]) -> None:
        """Build state from the training days that is not a weight; most models have none.

        Models with such state call this in Lightning's hooks. Without a Trainer, call it yourself.
        """

    @property
    def shows(self) -> list[str]:
        """What the network can show of itself: the kinds of its probes, see `inside`."""
        return [*dict.fromkeys(probe.kind for probe in find_probes(self).values())]

    def inside(self, day: DayBatch, *kinds: str) -> dict[str, Shown]:
        """Return what the network looks at when it scores a day: attention, neighbours, ...

        A subclass need not override this: it creates a `alphazoo.models.probe.Probe` for each
        tensor that it can show, and passes the tensor through it in ``forward``.

        Args:
            day: The day.
            kinds: Only these kinds, see `shows`; by default all.

        Returns:
            The tensors with the names of their axes, by the names of the probes.
        """
        return show(self, day, kinds=kinds)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Self:
        """Load a model from a checkpoint; see Lightning for the arguments.

        Raises:
            InputError: The checkpoint holds another model.
        """
        _check_kind(read_checkpoint(checkpoint_path), cls.__name__, str(checkpoint_path))
        return super().load_from_checkpoint(checkpoint_path, *args, **kwargs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the name of the model class and the lineage of its weights."""
        checkpoint["alphazoo"] = {"model": type(self).__name__, "lineage": self.lineage}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Reject the weights of another model; take their lineage unless the run has set one."""
        _check_kind(checkpoint, type(self).__name__, "the checkpoint")
        self.lineage = self.lineage or read_lineage(checkpoint)

    def configure_optimizers(self) -> Any:
        """Return the optimiser and scheduler set as attributes; by default Adam without one."""
        # without weights, the optimiser still holds the learning rate, which a scheduler may change
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
        """Return the loss of one day; all days have equal weight."""
        scores = self(day)
        loss = daily_mse(scores, day.labels)
        if not loss.isfinite():
            raise DivergedError(self._explain(f"the loss is {loss.item()}", scores, day))
        self.losses.update(loss.detach(), day.labels.isfinite().any())  # skips repeated days
        self.log("train/loss", self.losses, on_step=False, on_epoch=True, batch_size=1)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Clear the score table."""
        self._table("val").reset()

    def validation_step(self, day: DayBatch, index: int) -> None:
        """Score one validation day."""
        self._score("val", day)

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        self._log_figures("val")

    def on_test_epoch_start(self) -> None:
        """Clear the score table."""
        self._table("test").reset()

    def test_step(self, day: DayBatch, index: int) -> None:
        """Score one test day."""
        self._score("test", day)

    def on_test_epoch_end(self) -> None:
        """Log the test metrics."""
        self._log_figures("test")

    def on_predict_epoch_start(self) -> None:
        """Clear the score table."""
        self._table("predict").reset()

    def predict_step(self, day: DayBatch, index: int) -> Tensor:
        """Return the scores of one day, [N]."""
        return self._score("predict", day)

    def on_predict_epoch_end(self) -> None:
        """Gather the scores while all processes are still running."""
        self.scores("predict")

    def scores(self, name: str) -> pd.DataFrame:
        """Return the scores of the last pass over ``"val"``, ``"test"`` or ``"predict"``.

        The columns are ``date`` (row of the calendar), ``stock`` (column of the universe),
        ``score``, ``label`` and ``return``. The rows of all processes are merged, each one once.
        """
        return self._table(name).compute()

    def _table(self, name: str) -> ScoreTable:
        return cast("ScoreTable", self.tables[name])

    def _score(self, name: str, day: DayBatch) -> Tensor:
        scores: Tensor = self(day)
        if not scores.float().isfinite().all():  # tables keep float32
            raise DivergedError(self._explain("scores are not finite", scores, day))
        self._table(name).update(day, scores)
        return scores

    def _log_figures(self, name: str) -> None:
        metrics = summary(self.scores(name))
        for figure in METRICS:
            # the table already covers all processes; sync_dist only tells Lightning so
            self.log(
                f"{name}/{figure}",
                metrics[figure],
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
