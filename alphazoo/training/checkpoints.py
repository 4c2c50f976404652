"""Checkpoints from which an interrupted training run resumes to bit-identical weights."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only
from torch.optim.lr_scheduler import ReduceLROnPlateau

from alphazoo.files import copy_file
from alphazoo.models.checkpoint import read_checkpoint, write_checkpoint

log = logging.getLogger(__name__)

BEST, LAST, PREVIOUS = "best.ckpt", "last.ckpt", "previous.ckpt"
LAST_STATE = "LastCheckpoint"  # Lightning's key of its state begins with the name of the class


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints with a digest and atomically, through a temporary file in the same folder.

    Lightning uses the system's folder for temporary files. If that is on another disk, the file is
    copied, and a killed process leaves an incomplete checkpoint.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint with a digest of its content."""
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint, and verify its digest."""
        return read_checkpoint(path)


class _AfterPretraining(L.Callback):
    """Leaves out the epochs in which a model pretrains: its scores do not show what it learns."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not _pretrains(pl_module):
            super().on_train_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not _pretrains(pl_module):
            super().on_validation_end(trainer, pl_module)


def _pretrains(model: L.LightningModule) -> bool:
    """Whether a model pretrains in this epoch, see `alphazoo.models.base.StockModel`."""
    return bool(getattr(model, "is_pretraining", False))


class BestCheckpoint(_AfterPretraining, ModelCheckpoint):
    """Keeps the checkpoint of the best epoch; works in a folder that has been moved."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best epoch, unless its file is not in this folder."""
        moved = {path: self._here(path) for path in state_dict["best_k_models"]}
        if moved and all(Path(path).is_file() for path in moved.values()):
            scores = {moved[path]: score for path, score in state_dict["best_k_models"].items()}
            paths = {
                name: self._here(state_dict[name])
                for name in ("best_model_path", "kth_best_model_path")
            }
            super().load_state_dict(
                {**state_dict, **paths, "best_k_models": scores, "dirpath": self.dirpath}
            )

    def _here(self, path: str) -> str:
        return str(Path(str(self.dirpath)) / Path(path).name)


class LastCheckpoint(ModelCheckpoint):
    """Keeps the checkpoints of the last two epochs, and the metrics that are still needed then.

    Only after this file is written, Lightning logs the metrics of training, and steps a scheduler
    that monitors a metric, such as ReduceLROnPlateau. A resumed run does what a killed one did not.
    """

    _metrics: Mapping[str, float] = {}
    _row: Mapping[str, float] = {}

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the logs, rename the last checkpoint to the previous one, and write the new one."""
        for logger in trainer.loggers:
            logger.save()
        last = Path(str(self.dirpath)) / LAST
        if trainer.is_global_zero and last.is_file():
            copy_file(last, last.with_name(PREVIOUS))
        self._metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self._row = {"epoch": trainer.current_epoch, "step": trainer.global_step - 1} | {
            name: float(value) for name, value in trainer.logged_metrics.items()
        }
        super().on_train_epoch_end(trainer, pl_module)
        self._metrics = self._row = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the state, the metrics of the epoch, and what of it the log must have."""
        return {**super().state_dict(), "metrics": dict(self._metrics), "row": dict(self._row)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the metrics only; the path of the checkpoint may have changed."""
        self._metrics = state_dict["metrics"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """In a resumed run, step the schedulers that missed the metrics of the last epoch."""
        super().on_train_start(trainer, pl_module)
        for config in trainer.lr_scheduler_configs if self._metrics else ():
            due = config.interval == "epoch" and trainer.current_epoch % config.frequency == 0
            if isinstance(config.scheduler, ReduceLROnPlateau) and due:
                config.scheduler.step(self._metrics[str(config.monitor)])
        self._metrics = {}


def logged_row(checkpoint: Mapping[str, Any]) -> dict[str, float]:
    """Return what the log of metrics must have of the epoch after which a checkpoint was made."""
    states = checkpoint.get("callbacks", {})
    rows = [state.get("row") for name, state in states.items() if name.startswith(LAST_STATE)]
    return dict(rows[0] or {}) if rows else {}


class ResumableEarlyStopping(_AfterPretraining, EarlyStopping):
    """Stops training after a number of epochs without improvement; resuming may change it."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the counter of a checkpoint, but not its patience."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop at once if the patience was already exhausted."""
        if self.wait_count and self.wait_count >= self.patience:
            trainer.should_stop = True


def choose_weights(trainer: L.Trainer, monitor: str) -> str | None:
    """Return the checkpoint that a run scores, and log which one it is.

    Without a validation run after pretraining there is no best epoch: the last checkpoint becomes
    ``best.ckpt``, so that predictions use the weights of the scores.

    Args:
        trainer: After training.
        monitor: Metric that chooses the best epoch.

    Returns:
        Path of the checkpoint; None if there is none.
    """
    callback = trainer.checkpoint_callback
    if not isinstance(callback, BestCheckpoint):
        return getattr(callback, "best_model_path", "") or None
    if callback.best_model_path:
        score = callback.best_model_score
        value = "undefined" if score is None else f"{float(score):.4f}"
        log.info("scored with the weights of the best epoch: %s is %s", monitor, value)
        return callback.best_model_path
    best, last = (Path(str(callback.dirpath)) / name for name in (BEST, LAST))
    if not last.is_file():
        return None
    log.warning(
        "%s, so there is no best epoch: scored with the weights of the last step",
        "all epochs were of pretraining"
        if monitor in trainer.callback_metrics
        else f"no validation ran and {monitor} is unknown",
    )
    rank_zero_only(copy_file)(last, best)
    trainer.strategy.barrier()
    return str(best)
