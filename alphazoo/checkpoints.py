"""Checkpoints that a training can go on from, bit for bit, wherever it was stopped."""

import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.optim.lr_scheduler import ReduceLROnPlateau

from alphazoo.files import replacing

LAST, BEFORE = "last.ckpt", "previous.ckpt"


class WholeFiles(TorchCheckpointIO):
    """A checkpoint is written beside its place and moved there when it is whole.

    Lightning writes it into the system's folder for such files, from where it is copied if that is
    another disk: a process that is killed then leaves half a checkpoint.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint."""
        content = io.BytesIO()  # torch does not say of a full disk that it is full
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(Path(path)) as file:
            file.write_bytes(content.getbuffer())


class BestEpoch(ModelCheckpoint):
    """Keeps the best epoch, and knows it again in a folder that was moved."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state of a checkpoint; files that are not in this folder are forgotten."""
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


class LastEpoch(ModelCheckpoint):
    """Keeps the last epoch and the one before, and what a scheduler has yet to hear of it.

    Lightning tells a scheduler that listens to a figure, such as ReduceLROnPlateau, of an epoch
    after this file is written, and forgets it when a training goes on.
    """

    _figures: Mapping[str, float] = {}

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the last file aside, and write the next, after the log of what it stands for."""
        for logger in trainer.loggers:
            logger.save()
        last = Path(str(self.dirpath)) / LAST
        if trainer.is_global_zero and last.is_file():
            with replacing(last.with_name(BEFORE)) as file:
                shutil.copyfile(last, file)
        self._figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        super().on_train_epoch_end(trainer, pl_module)
        self._figures = {}

    def state_dict(self) -> dict[str, Any]:
        """With the figures of the epoch."""
        return {**super().state_dict(), "figures": dict(self._figures)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """There is one last epoch, wherever it was: the figures are all that is needed."""
        self._figures = state_dict["figures"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Tell the schedulers of the epoch before, where a training goes on."""
        super().on_train_start(trainer, pl_module)
        for told in trainer.lr_scheduler_configs if self._figures else ():
            due = told.interval == "epoch" and trainer.current_epoch % told.frequency == 0
            if isinstance(told.scheduler, ReduceLROnPlateau) and due:
                told.scheduler.step(self._figures[str(told.monitor)])
        self._figures = {}


class StopEarly(EarlyStopping):
    """Counts epochs without a better one; the patience is the one given now."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what a checkpoint has counted."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop at once what had stopped before."""
        if self.wait_count and self.wait_count >= self.patience:
            trainer.should_stop = True
