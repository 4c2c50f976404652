"""Fit one model: instantiate model and data, train, and score days."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from alphazoo.config import instantiate
from alphazoo.data.lineage import UPDATE, WARM_START
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError, check_choice, did_you_mean
from alphazoo.files import write_text
from alphazoo.market.market import Market
from alphazoo.models.base import StockModel
from alphazoo.runs.folders import remove_files
from alphazoo.runs.provenance import write_provenance
from alphazoo.runs.run import PROVENANCE
from alphazoo.runs.settings import check_settings
from alphazoo.runs.trust import trust_config
from alphazoo.tracking import TRACKING, Tracker, log_settings
from alphazoo.training.checkpoints import BEST, LAST, PREVIOUS, choose_weights
from alphazoo.training.logs import repair_log
from alphazoo.training.objective import set_objective
from alphazoo.training.precision import suggest_bfloat16
from alphazoo.training.progress import show_progress
from alphazoo.training.resume import ResumePoint, resume_point
from alphazoo.training.signals import KeepSignalHandler
from alphazoo.training.trainer_settings import check_trainer
from alphazoo.training.warm_start import continue_from, warm_start

log = logging.getLogger(__name__)

# files and subfolders of a run, deleted when another run starts in the same folder
RESULTS = (
    *("metrics.json", "scores.parquet", "windows.csv", "rows.parquet", PROVENANCE),
    *("report.html", "figures", "analysis", "monitor.npz", "monitor"),
    *("backtest.parquet", "positions.parquet", "trades.parquet"),
)
TRAINED = (*(f"checkpoints/{name}" for name in (BEST, LAST, PREVIOUS)), "windows", "logs")
LOG_PREFIX = {"valid": "val", "test": "test", "predict": "predict"}


@dataclass(frozen=True)
class FitResult:
    """A trained model with its data and trainer.

    Attributes:
        model: The model with the weights of the last epoch.
        data: Data of the training run.
        trainer: Trainer, which knows the device.
        best: Checkpoint of the best epoch, or of the last if no validation ran; None without one.
    """

    model: StockModel
    data: MarketDataModule
    trainer: L.Trainer
    best: str | None


def fit(
    config: DictConfig,
    *,
    market: Market | None = None,
    start: str | None = None,
    callbacks: Sequence[Callback] = (),
    trackers: Sequence[Tracker] = (),
) -> FitResult:
    """Train a model.

    Writes ``config.yaml``, ``provenance.json``, the logs and
    ``checkpoints/{best,last,previous}.ckpt`` into ``config.folder``. With ``config.ckpt`` it
    resumes a training run, which ends with the weights of a run that was never interrupted.

    Args:
        config: Config of the run.
        market: The market, if it has been read already.
        start: Checkpoint of the same model whose weights to start from, as in a walk forward.
        callbacks: Callbacks in addition to those of the config.
        trackers: Additional loggers, see `alphazoo.tracking.open_trackers`.

    Raises:
        InputError: The data or a setting cannot be used; nothing is written.
    """
    check_settings(config)
    trust_config(config)
    L.seed_everything(config.seed, workers=True, verbose=False)
    other = {} if market is None else {"market": market}
    data: MarketDataModule = instantiate(config.datamodule, **other)
    data.setup()  # invalid data raise an error before anything is written
    model = _make_model(config)
    point = resume_point(config, data)
    if point:
        model.lineage = point.lineage
    elif start:
        continue_from(start, model, data, WARM_START, allow_leak=config.allow_leak)
    elif config.get("child_of"):
        continue_from(config.child_of.checkpoint, model, data, UPDATE, allow_leak=config.allow_leak)
    elif config.init_from:
        warm_start(model, config.init_from, data, allow_leak=config.allow_leak)
    trainer = _make_trainer(config, callbacks, trackers)
    prepare_folder(config, point)
    write_provenance(config, data, trainer)
    log_settings(trackers, config)
    count = sum(p.numel() for p in model.parameters())
    log.info("%s: %s parameters, on %s", type(model).__name__, f"{count:,}", name_device(trainer))
    suggest_bfloat16(trainer, model)
    trainer.fit(model, data, ckpt_path=point.file if point else None, weights_only=True)
    return FitResult(model, data, trainer, choose_weights(trainer, config.monitor))


def name_device(trainer: L.Trainer) -> str:
    """Return the device of a trainer, and the threads of a single process on the CPU."""
    device, threads = str(trainer.strategy.root_device), torch.get_num_threads()
    if device != "cpu" or trainer.world_size > 1:  # Lightning has yet to share the cores out
        return device
    return f"{device} with {threads} thread{'s'[: threads > 1]}"


def check_instantiable(config: DictConfig) -> None:
    """Instantiate the objects of a run that need no data, to find invalid settings early.

    Raises:
        InputError: An object cannot be instantiated, or ``ckpt`` or ``init_from`` is not a file.
    """
    check_trainer(config.trainer)
    for name in ("datamodule", "averaging", "backtest"):
        instantiate(config.get(name))
    _make_model(config)
    name = "init_from" if config.ckpt is None else "ckpt"
    file = config[name]
    if file not in (None, "last") and not Path(file).expanduser().is_file():
        or_last = "last, " if name == "ckpt" else ""
        raise InputError(f"{name}={file}: no such file; expected {or_last}a checkpoint or null")


def _make_model(config: DictConfig) -> StockModel:
    model: StockModel = instantiate(config.model)
    set_objective(model, config)
    if config.monitor not in model.logged_metrics:
        hint = did_you_mean(config.monitor, model.logged_metrics)
        raise InputError(f"unknown monitor {config.monitor!r}; {hint}")
    model.optimizer = instantiate(config.optimizer)
    model.lr_scheduler = instantiate(config.scheduler) or None
    model.configure_optimizers()  # an invalid learning rate raises an error now
    return model


def _make_trainer(
    config: DictConfig, callbacks: Sequence[Callback], trackers: Sequence[Tracker]
) -> L.Trainer:
    trainer: L.Trainer = instantiate(config.trainer)
    show_progress(trainer)
    if config.get("averaging"):
        averaging = instantiate(config.averaging)
        trainer.callbacks.insert(0, averaging)  # type: ignore[attr-defined]  # set by a connector
    trainer.callbacks += [*callbacks, KeepSignalHandler()]  # type: ignore[attr-defined]  # likewise
    trainer.loggers = [*trainer.loggers, *trackers]
    return trainer


@rank_zero_only
def prepare_folder(
    config: DictConfig, point: ResumePoint | None = None, *, keep: bool = False
) -> None:
    """Delete the results of an earlier run in the folder, and write ``config.yaml``.

    Args:
        config: Config of the run.
        point: Checkpoint of a resumed run; if it lies in the folder, checkpoints and the log up to
            that step are kept.
        keep: Keep everything that was trained, including the windows of a walk forward.
    """
    folder = Path(config.folder)
    folder.mkdir(parents=True, exist_ok=True)
    remove_files(folder, RESULTS)
    for partial in (folder / "checkpoints").glob(".*.ckpt.*"):  # left by a killed process
        partial.unlink()
    if point and point.inside:
        repair_log(folder / "logs" / "metrics.csv", point.steps, point.row)
    elif not keep:
        remove_files(folder, TRAINED)
        if config.get("ckpt") != "last":  # a run killed before its first checkpoint stays the same
            remove_files(folder, [TRACKING])
    saved = config.copy()
    saved.folder = str(folder)  # only Hydra can resolve it; other interpolations are kept
    write_text(folder / "config.yaml", OmegaConf.to_yaml(saved))


def score_table(
    trainer: L.Trainer,
    model: StockModel,
    data: MarketDataModule,
    split: str = "test",
    *,
    ckpt_path: str | None = None,
) -> pd.DataFrame:
    """Score every stock of every day of a split.

    Args:
        trainer: Trainer, which knows the device.
        model: The model.
        data: The data.
        split: ``"valid"``, ``"test"`` or ``"predict"``.
        ckpt_path: Checkpoint whose weights and scaling statistics are loaded first; None uses those
            that the model and the data have.

    Returns:
        Columns ``date``, ``symbol``, ``split``, ``score``, ``return`` (raw forward return, a
        fraction; NaN where unknown), sorted by date and symbol.
    """
    check_choice("split", split, LOG_PREFIX)
    if split == "predict":
        trainer.predict(model, datamodule=data, ckpt_path=ckpt_path, return_predictions=False)
    else:
        run = {"valid": trainer.validate, "test": trainer.test}[split]
        run(model, datamodule=data, ckpt_path=ckpt_path, verbose=False)
    return to_score_table(model.scores(LOG_PREFIX[split]), data.market, split)


def to_score_table(rows: pd.DataFrame, market: Market, split: str) -> pd.DataFrame:
    """Convert rows of `alphazoo.models.base.StockModel.scores` to the score table of a split."""
    return pd.DataFrame(
        {
            "date": market.dates[rows["date"]],
            "symbol": pd.Index(market.symbols)[rows["stock"]],
            "split": split,
            "score": rows["score"],
            "return": rows["return"],
        }
    )
