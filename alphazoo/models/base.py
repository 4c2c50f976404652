"""StockModel, the base class of all models: a subclass defines ``__init__`` and ``forward``.

The file is long because Lightning calls all of these hooks on one object.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, cast

import lightning as L
import pandas as pd
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from alphazoo.bounds import NonNegativeFloat
from alphazoo.data.days import DayBatch, DaySequence
from alphazoo.data.lineage import Lineage, read_lineage
from alphazoo.errors import DivergedError, InputError
from alphazoo.losses.base import Loss
from alphazoo.losses.pointwise import MSE
from alphazoo.metrics import ScoreTable, summary
from alphazoo.models.checkpoint import read_checkpoint
from alphazoo.models.horizons import HorizonTables
from alphazoo.models.probe import Shown, find_probes, show

METRICS = ("loss", "ic", "icir", "rank_ic", "rank_icir")


def _check_kind(checkpoint: Mapping[str, Any], kind: str, source: str) -> None:
    found = checkpoint["alphazoo"]["model"]
    if found != kind:
        raise InputError(f"{source} holds a {found} model, expected {kind}")


class StockModel(L.LightningModule, ABC):
    """Scores the stocks of a day; trained on a daily loss and evaluated by IC.

    A model that learns from more than its scores overrides `loss`, and still compares its scores
    with the labels by ``self.criterion.on_day(scores, day)``, so that every loss can be chosen. A
    model whose loss is fixed, such as a likelihood, sets ``fixed_loss``.

    The constructor arguments of a subclass are saved in its checkpoint, so
    ``load_from_checkpoint(path)`` needs no other arguments.

    Args:
        lr: Learning rate.
        weight_decay: L2 penalty, as the optimiser defines it.

    Attributes:
        criterion: Compares scores and labels, see `alphazoo.losses.base.Loss`.
        fixed_loss: Whether the model ignores ``criterion``; another loss than MSE is then refused.
        n_outputs: Number of outputs per stock that the loss reads.
        horizons: Score tables of the horizons of the label, see `log_horizons`.
        optimizer: Creates an optimiser from parameters, ``lr`` and ``weight_decay``.
        lineage: The checkpoints that the weights came from, see `alphazoo.data.lineage`.
        differentiable: Whether the gradient of a score with respect to the features explains it.
            False for trees, and for networks that choose what they read, such as the k nearest.
        fixed_universe: Whether the model has weights for each stock of its universe, and therefore
            scores no other stocks.
        lr_scheduler: A scheduler dictionary as for Lightning's ``configure_optimizers``, except
            that ``scheduler`` is called with the optimiser; None keeps the learning rate constant.
    """

    criterion: Loss = MSE()
    fixed_loss: bool = False
    n_outputs: int = 1
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam
    lr_scheduler: Mapping[str, Any] | None = None
    differentiable: bool = True
    fixed_universe: bool = False

    def __init__(self, *, lr: NonNegativeFloat, weight_decay: NonNegativeFloat) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.lr = lr
        self.weight_decay = weight_decay
        self.lineage: Lineage = []
        self.tables = nn.ModuleDict({name: ScoreTable() for name in ("val", "test", "predict")})
        # over training days; Lightning's own mean would round the number of days per process
        self.losses = MeanMetric()
        self.criteria = MeanMetric()  # likewise; a day that two processes share counts twice
        self.horizons = HorizonTables([])

    @abstractmethod
    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]. Must not read labels or returns."""

    def outputs(self, day: DayBatch) -> Tensor:
        """Return what the loss reads: [N], or [N, K] from a model of K outputs per stock."""
        return cast("Tensor", self(day))

    def loss(self, day: DayBatch) -> Tensor:
        """Return the training loss of a day, []; 0 with a gradient of 0 if it has no labels.

        It is also computed on validation days, in evaluation mode and without gradients, and must
        not change the model's state.
        """
        return self.criterion.on_day(self.outputs(day), day)

    def log_horizons(self, horizons: Sequence[Sequence[int]]) -> None:
        """Log the IC of each of ``label.horizons``, too.

        Of a model of one output per horizon, it is that of the output; else that of the score.
        """
        self.horizons = HorizonTables([*self.tables], horizons)

    @property
    def is_pretraining(self) -> bool:
        """Whether this epoch prepares others, so that it is never the best and uses no patience."""
        return False

    @property
    def logged_metrics(self) -> list[str]:
        """Names of the metrics that training logs; ``monitor`` must be one of them."""
        criterion = ["criterion"] if self._logs_criterion else []
        names = [*METRICS, *criterion, *self.horizons.metrics]
        return ["train/loss", *(f"val/{name}" for name in names)]

    @property
    def _logs_criterion(self) -> bool:
        """Whether the loss of a validation day differs from ``val/loss``, the MSE."""
        plain = type(self).loss is StockModel.loss and isinstance(self.criterion, MSE)
        return not plain or bool(self.horizons.metrics)

    def build_memory(self, train_days: DaySequence) -> None:
        """Build state from the training days that is not a weight; most models have none.

        Models with such state call this in Lightning's hooks. Without a Trainer, call it yourself.
        """

    def recall(self, day: DayBatch) -> Tensor:
        """Return what the model remembers of the stocks of a day, [N, L, K]; L = K = 0 if nothing.

        An exported model takes it as an input, so ``forward`` must use ``day.memory`` if it is
        given.
        """
        return day.features.new_empty(day.features.shape[0], 0, 0)

    @property
    def shows(self) -> list[str]:
        """The kinds of what the network can show of itself, see `inside`."""
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
        """Return the loss of one day, times the weight of the day."""
        loss = self.loss(day)
        if not loss.isfinite():
            raise DivergedError(self._explain(f"the loss is {loss.item()}", self(day), day))
        self.losses.update(loss.detach(), self.criterion.weight_of(day))
        self.log("train/loss", self.losses, on_step=False, on_epoch=True, batch_size=1)
        return loss * day.day_weight

    def on_validation_epoch_start(self) -> None:
        """Clear the score table."""
        self._reset("val")

    def validation_step(self, day: DayBatch, index: int) -> None:
        """Score one validation day."""
        self._score("val", day)
        if self._logs_criterion:
            self.criteria.update(self.loss(day), self.criterion.weight_of(day))
            self.log("val/criterion", self.criteria, on_epoch=True, batch_size=1)

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        self._log_figures("val")

    def on_test_epoch_start(self) -> None:
        """Clear the score table."""
        self._reset("test")

    def test_step(self, day: DayBatch, index: int) -> None:
        """Score one test day."""
        self._score("test", day)

    def on_test_epoch_end(self) -> None:
        """Log the test metrics."""
        self._log_figures("test")

    def on_predict_epoch_start(self) -> None:
        """Clear the score table."""
        self._reset("predict")

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
        if self.horizons.metrics:
            self.horizons.update(name, day, self._by_horizon(day, scores))
        return scores

    def _by_horizon(self, day: DayBatch, scores: Tensor) -> Tensor:
        """Return what forecasts each horizon, [N, L]."""
        if self.n_outputs > 1 and self.criterion.n_outputs == 1:
            return self.outputs(day)
        return scores.unsqueeze(1).expand_as(day.targets)

    def _reset(self, name: str) -> None:
        self._table(name).reset()
        self.horizons.reset(name)

    def _log_figures(self, name: str) -> None:
        metrics = summary(self.scores(name))
        metrics = {figure: metrics[figure] for figure in METRICS} | self.horizons.compute(name)
        for figure, value in metrics.items():
            # the table already covers all processes; sync_dist only tells Lightning so
            self.log(
                f"{name}/{figure}",
                value,
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
