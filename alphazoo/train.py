"""One run: fit, score valid and test, write results; over one test segment or walking forward."""

import json
import math
from pathlib import Path

import pandas as pd
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from alphazoo.files import replacing
from alphazoo.fit import LOGGED_AS, fit, score_table
from alphazoo.metrics import summary
from alphazoo.walk_forward import walk_forward


def train(config: DictConfig) -> dict[str, float]:
    """Train a model and score the valid and test days with its best weights.

    Writes into ``config.folder``: what `fit` or `walk_forward` writes, ``metrics.json`` and
    ``scores.parquet``.

    Returns:
        The figures of ``metrics.json``: ``val/ic``, ``test/ic``, ...
    """
    metrics, scores = (walk_forward if config.walk_forward else _one_fit)(config)
    write_results(Path(config.folder), metrics, scores)
    return metrics


def _one_fit(config: DictConfig) -> tuple[dict[str, float], pd.DataFrame]:
    run = fit(config)
    metrics: dict[str, float] = {}
    tables = []
    for split in ("valid", "test"):
        tables.append(score_table(run.trainer, run.model, run.data, split, ckpt_path=run.best))
        figures = summary(run.model.scores(LOGGED_AS[split]))
        metrics |= {f"{LOGGED_AS[split]}/{name}": value for name, value in figures.items()}
    return metrics, pd.concat(tables, ignore_index=True)


@rank_zero_only
def write_results(folder: Path, metrics: dict[str, float], scores: pd.DataFrame) -> None:
    """Write ``metrics.json`` (undefined figures are null) and ``scores.parquet``."""
    known = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    with replacing(folder / "metrics.json") as file:
        file.write_text(json.dumps(known, indent=2) + "\n")
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
