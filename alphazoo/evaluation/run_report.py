"""The report of a training run: its test days judged, with where its scores come from."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from alphazoo.config import instantiate
from alphazoo.data.lineage import SEEN_BEFORE
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError
from alphazoo.evaluation.evaluate import evaluate, label_details, market_details, write_evaluation
from alphazoo.evaluation.figures import training_figures
from alphazoo.evaluation.report import Section
from alphazoo.files import write_json
from alphazoo.market.concepts import Concepts
from alphazoo.runs.read import read_log
from alphazoo.runs.run import read_provenance

log = logging.getLogger(__name__)


@rank_zero_only
def report(
    config: DictConfig,
    metrics: dict[str, float],
    scores: pd.DataFrame,
    data: MarketDataModule,
    concepts: Concepts | None,
    more: Callable[[], Sequence[Section]] = tuple,
) -> None:
    """Evaluate the test days of a run, write its report and add to its metrics.

    If the scores cannot be analysed or backtested, a warning says so and the run remains valid.

    Args:
        config: Config of the run.
        metrics: Metrics of the run, to which those of the evaluation are added.
        scores: Its score table.
        data: Its data.
        concepts: Concepts for the IC by concept.
        more: Returns further sections of the report; only the first process calls it.
    """
    folder = Path(config.folder)
    test = scores[scores["split"] == "test"]
    backtest = instantiate(config.get("backtest")) or None
    try:
        found = evaluate(test, data.market, label=data.label, backtest=backtest, concepts=concepts)
    except InputError as error:
        log.warning("no report: %s", error)
        return
    metrics |= found.metrics
    write_json(folder / "metrics.json", metrics)
    saved_config = folder / "config.yaml"
    logged = folder / "logs" / "metrics.csv"
    write_evaluation(
        folder,
        found,
        f"{config.model._target_.rpartition('.')[2]} on {data.market.name}",
        details=_describe(config, data),
        market=data.market,
        training=training_figures(read_log(logged).astype(float)) if logged.is_file() else (),
        config=saved_config.read_text(encoding="utf-8"),
        notes=_leaks(metrics),
        more=more(),
    )


def _leaks(metrics: Mapping[str, float]) -> list[str]:
    """Return notes on validation and test days that an ancestor of the model has seen."""
    notes = []
    for name, days in (("val", "validation"), ("test", "test")):
        count = metrics.get(f"{name}/{SEEN_BEFORE}", 0.0)
        if count:
            seen = "an unknown number" if math.isnan(count) else f"{count:.0f}"
            notes.append(
                f"The model started from a checkpoint that had seen {seen} of the {days} days: "
                f"{days} metrics are better than they would be on new days."
            )
    return notes


def _describe(config: DictConfig, data: MarketDataModule) -> dict[str, str]:
    """Describe a run, its data and settings for the report, as names and values."""
    days = {name: data.segments[name] for name in ("train", "valid", "test")}
    spans = {
        name: f"{len(rows):,} days, {data.market.dates[rows[0]]:%Y-%m-%d} to "
        f"{data.market.dates[rows[-1]]:%Y-%m-%d}"
        for name, rows in days.items()
    }
    model = ", ".join(f"{key} {value}" for key, value in config.model.items() if key != "_target_")
    return {
        "model": f"{config.model._target_}: {model}",
        "features": f"{len(data.features.columns)} columns, window of {data.features.window} days",
        "seed": str(config.seed),
        **spans,
        **market_details(data.market),
        **label_details(config),
        **_origin(read_provenance(Path(config.folder))),
        "folder": str(config.folder),
    }


def _origin(provenance: dict[str, Any]) -> dict[str, str]:
    """Return the data fingerprint and, if recorded, the git commit."""
    found = {}
    if provenance:
        found["data fingerprint"] = provenance["data"]["fingerprint"]
    if provenance.get("git"):
        changed = ", with changes" if provenance["git"]["changed"] else ""
        found["git commit"] = provenance["git"]["commit"] + changed
    return found
