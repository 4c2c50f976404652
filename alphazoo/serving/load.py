"""Load a finished run: its model, its data and a trainer, ready to score days."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd

from alphazoo.allocator import KeepFreedMemory
from alphazoo.config import instantiate
from alphazoo.data.module import MarketDataModule
from alphazoo.models.base import StockModel
from alphazoo.models.checkpoint import read_checkpoint, stated_digest
from alphazoo.runs.run import Run
from alphazoo.runs.settings import check_settings
from alphazoo.training.fit import score_table
from alphazoo.training.progress import show_progress

NEEDED = ("seed", "data", "features", "scaler", "label", "datamodule", "model", "trainer")


@dataclass(frozen=True)
class LoadedRun:
    """A run in memory.

    Attributes:
        run: The run; of a walk forward, its last window.
        checkpoint: The checkpoint of the best epoch.
        content: Content of the checkpoint.
        data: Data of the run, set up; they may have grown since training.
        model: The model, which has the weights of the checkpoint once it has scored a split.
        trainer: A trainer of one process, without logs.
    """

    run: Run
    checkpoint: Path
    content: Mapping[str, Any]
    data: MarketDataModule
    model: StockModel
    trainer: L.Trainer

    @property
    def digest(self) -> str:
        """Digest of the checkpoint, which identifies the model."""
        return stated_digest(self.content)

    def score(self, split: str) -> pd.DataFrame:
        """Score the days of a split, see `alphazoo.training.fit.score_table`."""
        file = str(self.checkpoint)
        return score_table(self.trainer, self.model, self.data, split, ckpt_path=file)


def load_run(run: Run, **settings: Any) -> LoadedRun:
    """Load a run that is not an ensemble.

    Args:
        run: The run.
        settings: Changes to the arguments of its trainer.

    Raises:
        InputError: The run has no checkpoint, or its settings or data cannot be used.
    """
    check_settings(run.config, *NEEDED)
    run = run.last_window
    checkpoint = run.checkpoint
    content = read_checkpoint(checkpoint)
    L.seed_everything(run.config.seed, workers=True, verbose=False)
    data: MarketDataModule = instantiate(run.config.datamodule)
    data.setup()
    model: StockModel = instantiate(run.config.model)
    trainer: L.Trainer = instantiate(
        run.config.trainer,
        devices=1,  # even if training used several
        num_nodes=1,
        strategy="auto",
        logger=False,
        callbacks=[KeepFreedMemory()],
        enable_checkpointing=False,
        limit_val_batches=1.0,
        limit_predict_batches=1.0,
        **settings,
    )
    show_progress(trainer)
    return LoadedRun(run, checkpoint, content, data, model, trainer)


def join_digests(digests: list[str]) -> str:
    """Return one digest for the checkpoints of an ensemble."""
    return hashlib.blake2b("".join(digests).encode(), digest_size=16).hexdigest()
