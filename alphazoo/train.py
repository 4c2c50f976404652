"""One run: fit a model or walk forward, score validation and test days, write the results."""

import logging
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from alphazoo.config import instantiate
from alphazoo.cost import Cost
from alphazoo.data.concepts import Concepts
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError
from alphazoo.evaluation import evaluate, label_facts, market_facts, write_evaluation
from alphazoo.facts import add_fact
from alphazoo.figures import training_figures
from alphazoo.files import write_json, write_table
from alphazoo.fit import LOGGED_AS, fit, score_table, try_nodes
from alphazoo.lineage import SEEN_BEFORE, seen_before
from alphazoo.metrics import summary
from alphazoo.resume import has_ended, in_use
from alphazoo.runs import Run
from alphazoo.settings import check_settings
from alphazoo.tracking import Tracker, tracked
from alphazoo.walk_forward import Outcome, walk_forward

log = logging.getLogger(__name__)


def train(config: DictConfig, callbacks: Sequence[Callback] = ()) -> dict[str, float]:
    """Train a model and score the validation and test days with the weights of its best epoch.

    Writes into ``config.folder``: the files of `fit` or `walk_forward`, ``metrics.json``,
    ``scores.parquet`` and, with ``config.report``, the files of `write_evaluation`. The trackers of
    ``config.logger`` log the run as well.

    Args:
        config: Config of the run.
        callbacks: Callbacks in addition to those of the config; not used by a walk forward.

    Returns:
        The metrics of ``metrics.json``: ``val/ic``, ``test/ic``, ...

    Raises:
        InputError: A setting or the data cannot be used, or another process trains in the folder.
    """
    check_settings(config)
    try_nodes(config)
    folder = Path(config.folder)
    with in_use(folder), tracked(config) as trackers:
        if has_ended(config):
            log.info("%s is already finished: its metrics are returned unchanged", folder)
            return {
                name: math.nan if value is None else value
                for name, value in Run.open(folder).metrics.items()
            }
        resources = Cost()
        metrics, scores, data, concepts = (
            walk_forward(config, trackers)
            if config.walk_forward
            else _one_fit(config, [*callbacks, resources], trackers)
        )
        add_fact(folder, "cost", resources.total())
        write_results(folder, metrics, scores)
        if config.report:
            report(config, metrics, scores, data, concepts)
    return metrics


def _one_fit(
    config: DictConfig, callbacks: Sequence[Callback], trackers: Sequence[Tracker]
) -> Outcome:
    run = fit(config, callbacks=callbacks, trackers=trackers)
    metrics: dict[str, float] = {}
    tables = []
    for split in ("valid", "test"):
        tables.append(score_table(run.trainer, run.model, run.data, split, ckpt_path=run.best))
        values = summary(run.model.scores(LOGGED_AS[split]))
        metrics |= {f"{LOGGED_AS[split]}/{name}": value for name, value in values.items()}
    metrics |= seen_before(run.model.lineage, run.data)
    scores = pd.concat(tables, ignore_index=True)
    return Outcome(metrics, scores, run.data, run.data.concepts)


@rank_zero_only
def report(
    config: DictConfig,
    metrics: dict[str, float],
    scores: pd.DataFrame,
    data: MarketDataModule,
    concepts: Concepts | None,
) -> None:
    """Evaluate the test days of a run, write its report and add to its metrics.

    If the scores cannot be analysed or backtested, a warning says so and the run remains valid.
    """
    folder = Path(config.folder)
    test = scores[scores["split"] == "test"]
    evaluate_test = partial(evaluate, test, data.market, label=data.label, concepts=concepts)
    try:
        try:
            found = evaluate_test(backtest=instantiate(config.get("backtest")) or None)
        except InputError as error:
            log.warning("no backtest: %s", error)
            found = evaluate_test(backtest=None)
    except InputError as error:
        log.warning("no report: %s", error)
        return
    metrics |= found.figures
    write_json(folder / "metrics.json", metrics)
    saved_config = folder / "config.yaml"
    logged = folder / "logs" / "metrics.csv"
    write_evaluation(
        folder,
        found,
        f"{config.model._target_.rpartition('.')[2]} on {data.market.name}",
        facts=_describe(config, data),
        market=data.market,
        training=training_figures(pd.read_csv(logged)) if logged.is_file() else (),
        config=saved_config.read_text(),
        notes=_leaks(metrics),
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
        **market_facts(data.market),
        **label_facts(config),
        **_origin(Run.open(config.folder).facts),
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


@rank_zero_only
def write_results(folder: Path, metrics: dict[str, float], scores: pd.DataFrame) -> None:
    """Write ``scores.parquet`` and ``metrics.json``, in which undefined metrics are null."""
    write_table(scores, folder / "scores.parquet")
    write_json(folder / "metrics.json", metrics)  # written last: it marks the run as finished


@rank_zero_only
def print_figures(metrics: dict[str, float], folder: str) -> None:
    """Print the validation and test metrics of a run."""
    splits = {"valid": "val", "test": "test"}
    names = ("loss", "ic", "icir", "rank_ic", "rank_icir", "days")
    table = pd.DataFrame(
        {name: [metrics[f"{split}/{name}"] for split in splits.values()] for name in names},
        index=pd.Index(splits),
    )
    print(table.to_string(float_format=lambda x: f"{x:.4f}"))
    print(f"results: {folder}")
