"""Train one model, or one per window, and score validation and test days."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from alphazoo.data.lineage import count_seen_days
from alphazoo.files import write_json, write_table
from alphazoo.metrics import summary
from alphazoo.tracking import Tracker
from alphazoo.training.fit import LOG_PREFIX, fit, score_table
from alphazoo.training.walk_forward import Outcome


def fit_and_score(
    config: DictConfig, callbacks: Sequence[Callback], trackers: Sequence[Tracker]
) -> Outcome:
    """Fit a model, and score validation and test days with its best weights.

    Args:
        config: Of the run.
        callbacks: In addition to those of the config.
        trackers: In addition to ``logs/metrics.csv``.
    """
    run = fit(config, callbacks=callbacks, trackers=trackers)
    metrics: dict[str, float] = {}
    tables = []
    for split in ("valid", "test"):
        tables.append(score_table(run.trainer, run.model, run.data, split, ckpt_path=run.best))
        prefix = LOG_PREFIX[split]
        values = summary(run.model.scores(prefix)) | run.model.horizons.compute(prefix)
        metrics |= {f"{prefix}/{name}": value for name, value in values.items()}
    metrics |= count_seen_days(run.model.lineage, run.data)
    scores = pd.concat(tables, ignore_index=True)
    return Outcome(metrics, scores, run.data, run.data.concepts)


@rank_zero_only
def write_results(folder: Path, metrics: dict[str, float], scores: pd.DataFrame) -> None:
    """Write ``scores.parquet`` and ``metrics.json``, in which undefined metrics are null."""
    write_table(scores, folder / "scores.parquet")
    write_json(folder / "metrics.json", metrics)  # the last: it says that the run has ended
