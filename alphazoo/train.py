"""One run: instantiate, fit, score valid and test, write results. Names no model and no market."""

import logging
from pathlib import Path

import lightning as L
import pandas as pd
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from alphazoo.config import check_complete, instantiate
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError, check_choice, did_you_mean
from alphazoo.files import replacing, write_json
from alphazoo.metrics import summary
from alphazoo.models.base import StockModel
from alphazoo.warm_start import warm_start

log = logging.getLogger(__name__)

RESULTS = ("metrics.json", "scores.parquet", "checkpoints/best.ckpt", "checkpoints/last.ckpt")
LOGGED_AS = {"valid": "val", "test": "test", "predict": "predict"}


def train(config: DictConfig) -> dict[str, float]:
    """Train a model and score the valid and test days with its best weights.

    Writes into ``config.folder``: ``config.yaml`` (resolved), ``checkpoints/best.ckpt`` and
    ``last.ckpt``, ``metrics.json``, ``scores.parquet``.

    Returns:
        The figures of ``metrics.json``: ``val/ic``, ``test/ic``, ...
    """
    check_complete(config)
    folder = Path(config.folder)
    L.seed_everything(config.seed, workers=True, verbose=False)
    data: MarketDataModule = instantiate(config.datamodule)
    data.setup()  # bad data stops the run before there is a config.yaml or a checkpoint
    model: StockModel = instantiate(config.model)
    if config.monitor not in model.logged:
        hint = did_you_mean(config.monitor, model.logged)
        raise InputError(f"unknown monitor {config.monitor!r}; {hint}")
    if config.init_from:
        warm_start(model, config.init_from, data, allow_leak=config.allow_leak)
    model.optimizer = instantiate(config.optimizer)
    model.lr_scheduler = instantiate(config.scheduler) or None
    trainer: L.Trainer = instantiate(config.trainer)
    if trainer.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
        for result in RESULTS:  # of an earlier run in this folder
            (folder / result).unlink(missing_ok=True)
        with replacing(folder / "config.yaml") as file:
            file.write_text(OmegaConf.to_yaml(config, resolve=True))

    count = sum(p.numel() for p in model.parameters())
    device = trainer.strategy.root_device
    log.info("%s: %s parameters, on %s", type(model).__name__, f"{count:,}", device)
    trainer.fit(model, data)
    metrics: dict[str, float] = {}
    tables = []
    best = getattr(trainer.checkpoint_callback, "best_model_path", "") or None
    for split in ("valid", "test"):
        tables.append(score_table(trainer, model, data, split, ckpt_path=best))
        figures = summary(model.scores(LOGGED_AS[split]))
        metrics |= {f"{LOGGED_AS[split]}/{name}": value for name, value in figures.items()}
    if trainer.is_global_zero:
        write_results(folder, metrics, pd.concat(tables, ignore_index=True))
    return metrics


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
    rows = model.scores(LOGGED_AS[split])
    market = data.market
    return pd.DataFrame(
        {
            "date": market.dates[rows["date"]],
            "symbol": pd.Index(market.symbols)[rows["stock"]],
            "split": split,
            "score": rows["score"],
            "return": rows["return"],
        }
    )


def write_results(folder: Path, metrics: dict[str, float], scores: pd.DataFrame) -> None:
    """Write ``metrics.json`` (undefined figures are null) and ``scores.parquet``."""
    write_json(folder / "metrics.json", metrics)
    with replacing(folder / "scores.parquet") as file:
        scores.to_parquet(file, index=False)


@rank_zero_only
def print_figures(metrics: dict[str, float], folder: str) -> None:
    """Print the figures of valid and test side by side."""
    splits = {"valid": "val", "test": "test"}
    names = ("loss", "ic", "icir", "rank_ic", "rank_icir", "days")
    table = pd.DataFrame(
        {name: [metrics[f"{split}/{name}"] for split in splits.values()] for name in names},
        index=pd.Index(splits),
    )
    print(table.to_string(float_format=lambda x: f"{x:.4f}"))
    print(f"results: {folder}")
