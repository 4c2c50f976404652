"""Fit one model: instantiate, train, score. Names no model and no market."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import pandas as pd
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from alphazoo.checkpoints import BEFORE, LAST
from alphazoo.config import instantiate
from alphazoo.data.market import Market
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError, check_choice, did_you_mean
from alphazoo.facts import write_facts
from alphazoo.files import read_checkpoint, replacing
from alphazoo.folders import clear
from alphazoo.lineage import check_lineage, descend
from alphazoo.logs import keep_rows
from alphazoo.models.base import StockModel
from alphazoo.resume import ResumePoint, resume_point
from alphazoo.runs import FACTS
from alphazoo.settings import check_settings
from alphazoo.tracking import TRACKING, Tracker, describe
from alphazoo.warm_start import warm_start

log = logging.getLogger(__name__)

# files and folders of a run, deleted where another begins in its place
RESULTS = (
    *("metrics.json", "scores.parquet", "windows.csv", "rows.parquet", FACTS),
    *("report.html", "figures", "analysis"),
    *("backtest.parquet", "positions.parquet", "trades.parquet"),
)
TRAINED = (
    *(f"checkpoints/{name}" for name in ("best.ckpt", LAST, BEFORE)),
    *("windows", "logs"),
)
LOGGED_AS = {"valid": "val", "test": "test", "predict": "predict"}


@dataclass(frozen=True)
class Fitted:
    """A trained model and what it was trained with.

    Attributes:
        model: With the weights of the last epoch.
        data: The market's days.
        trainer: Chooses the device.
        best: The checkpoint of the best epoch; None without one.
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
) -> Fitted:
    """Train a model.

    Writes into ``config.folder``: ``config.yaml``, ``facts.json``, ``checkpoints/best.ckpt``,
    ``last.ckpt`` and the one before, the logs. With ``config.ckpt`` it goes on from a checkpoint,
    and ends with the weights of a training that was never stopped.

    Args:
        config: All that the run is told.
        market: Where it is read already.
        start: A checkpoint of the same model whose weights to start from, as in a walk forward.
        callbacks: Beside those of the config.
        trackers: Loggers beside that of the trainer, see `alphazoo.tracking.tracked`.

    Raises:
        InputError: The data or a setting cannot be used; nothing is written.
    """
    check_settings(config)
    L.seed_everything(config.seed, workers=True, verbose=False)
    other = {} if market is None else {"market": market}
    data: MarketDataModule = instantiate(config.datamodule, **other)
    data.setup()  # bad data stops the run before there is a config.yaml or a checkpoint
    model = _make_model(config)
    point = resume_point(config, data)
    if point:
        model.lineage = point.lineage
    elif start:
        _start_from(start, model, data, allow_leak=config.allow_leak)
    elif config.init_from:
        warm_start(model, config.init_from, data, allow_leak=config.allow_leak)
    trainer = _make_trainer(config, callbacks, trackers)
    begin_folder(config, point)
    write_facts(config, data, trainer)
    describe(trackers, Path(config.folder))
    count = sum(p.numel() for p in model.parameters())
    device = trainer.strategy.root_device
    log.info("%s: %s parameters, on %s", type(model).__name__, f"{count:,}", device)
    trainer.fit(model, data, ckpt_path=point.file if point else None, weights_only=True)
    best = getattr(trainer.checkpoint_callback, "best_model_path", "") or None
    return Fitted(model, data, trainer, best)


def _start_from(file: str, model: StockModel, data: MarketDataModule, *, allow_leak: bool) -> None:
    """Take the weights and the lineage of a checkpoint of the same model."""
    checkpoint = read_checkpoint(file)
    how = "walk_forward.warm_start"
    lineage = descend(checkpoint, how, file)
    check_lineage(lineage, data, source=f"{how} from {file}", allow_leak=allow_leak)
    model.load_state_dict(checkpoint["state_dict"])
    model.lineage = lineage


def try_nodes(config: DictConfig) -> None:
    """Make once what costs nothing, so that it refuses its settings before data are read.

    Raises:
        InputError: An object cannot be made, or ``ckpt`` or ``init_from`` is no file.
    """
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
    if config.monitor not in model.logged:
        hint = did_you_mean(config.monitor, model.logged)
        raise InputError(f"unknown monitor {config.monitor!r}; {hint}")
    model.optimizer = instantiate(config.optimizer)
    model.lr_scheduler = instantiate(config.scheduler) or None
    model.configure_optimizers()  # a learning rate that is none stops the run now
    return model


def _make_trainer(
    config: DictConfig, callbacks: Sequence[Callback], trackers: Sequence[Tracker]
) -> L.Trainer:
    trainer: L.Trainer = instantiate(config.trainer)
    if config.get("averaging"):
        averaging = instantiate(config.averaging)
        trainer.callbacks.insert(0, averaging)  # type: ignore[attr-defined]  # set in its connector
    trainer.callbacks += callbacks  # type: ignore[attr-defined]  # likewise
    trainer.loggers = [*trainer.loggers, *trackers]
    return trainer


@rank_zero_only
def begin_folder(
    config: DictConfig, point: ResumePoint | None = None, *, keep: bool = False
) -> None:
    """Write ``config.yaml`` into the folder of a run; results of an earlier run are deleted.

    Args:
        config: Of the run.
        point: Where its training goes on: checkpoints in the folder stay, and the log up to there.
        keep: All that was trained stays.
    """
    folder = Path(config.folder)
    folder.mkdir(parents=True, exist_ok=True)
    clear(folder, RESULTS)
    for torn in (folder / "checkpoints").glob(".*.ckpt.*"):  # a process was killed that wrote it
        torn.unlink()
    if point and point.inside:
        keep_rows(folder / "logs" / "metrics.csv", point.steps)
    elif not keep:
        clear(folder, TRAINED)
        if config.get("ckpt") != "last":  # stopped before the first checkpoint, it is the same run
            clear(folder, [TRACKING])
    told = config.copy()
    told.folder = str(folder)  # known to Hydra alone; other interpolations stay alive
    with replacing(folder / "config.yaml") as file:
        file.write_text(OmegaConf.to_yaml(told))


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
        trainer: Chooses the device.
        model: The model, with the weights it has unless ``ckpt_path`` says otherwise.
        data: The market's days.
        split: ``"valid"``, ``"test"`` or ``"predict"``.
        ckpt_path: A checkpoint whose weights and statistics to use.

    Returns:
        Columns ``date``, ``symbol``, ``split``, ``score``, ``return`` (raw forward return, a
        fraction; NaN where unknown), sorted by date and symbol.
    """
    check_choice("split", split, LOGGED_AS)
    if split == "predict":
        trainer.predict(model, datamodule=data, ckpt_path=ckpt_path, return_predictions=False)
    else:
        run = {"valid": trainer.validate, "test": trainer.test}[split]
        run(model, datamodule=data, ckpt_path=ckpt_path, verbose=False)
    return name_rows(model.scores(LOGGED_AS[split]), data.market, split)


def name_rows(rows: pd.DataFrame, market: Market, split: str) -> pd.DataFrame:
    """The score table of a split from rows of `alphazoo.models.base.StockModel.scores`."""
    return pd.DataFrame(
        {
            "date": market.dates[rows["date"]],
            "symbol": pd.Index(market.symbols)[rows["stock"]],
            "split": split,
            "score": rows["score"],
            "return": rows["return"],
        }
    )
