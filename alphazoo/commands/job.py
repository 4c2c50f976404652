"""One training run, from its config to its report."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from shlex import quote

import pandas as pd
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from alphazoo.errors import StoppedError, as_input_errors
from alphazoo.evaluation.run_report import report
from alphazoo.explain.first_look import first_look
from alphazoo.runs.provenance import add_provenance
from alphazoo.runs.resources import ResourceMonitor
from alphazoo.runs.run import Run, read_metrics
from alphazoo.runs.settings import check_settings
from alphazoo.runs.trust import trust_config
from alphazoo.serving.monitor.reference import keep_reference
from alphazoo.tracking import Tracker, open_trackers
from alphazoo.training.fit import check_instantiable
from alphazoo.training.quiet import silence_libraries
from alphazoo.training.resume import is_finished, locked_run
from alphazoo.training.train import fit_and_score, write_results
from alphazoo.training.walk_forward import walk_forward

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
    silence_libraries()
    with as_input_errors():
        check_settings(config)
        trust_config(config)
        check_instantiable(config)
        folder = Path(config.folder)
        with _resumable(folder), locked_run(folder), open_trackers(config) as trackers:
            return _train(config, callbacks, trackers)


def _train(
    config: DictConfig, callbacks: Sequence[Callback], trackers: Sequence[Tracker]
) -> dict[str, float]:
    folder = Path(config.folder)
    if is_finished(config):
        log.info("%s is already finished: its metrics are returned unchanged", folder)
        return {
            name: math.nan if value is None else value
            for name, value in read_metrics(folder).items()
        }
    resources = ResourceMonitor()
    metrics, scores, data, concepts = (
        walk_forward(config, trackers)
        if config.walk_forward
        else fit_and_score(config, [*callbacks, resources], trackers)
    )
    add_provenance(folder, "resources", resources.total())
    write_results(folder, metrics, scores)
    keep_reference(Run.open(folder, trust=True), data)
    if config.report:
        report(config, metrics, scores, data, concepts, partial(first_look, config, data))
    return metrics


@contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """Add to a stop by a signal how to go on."""
    try:
        yield
    except StoppedError as stop:
        if (folder / "config.yaml").is_file():
            stop.add_note(f"alphazoo train run={quote(str(folder))} goes on from the last epoch")
        raise


@rank_zero_only
def print_metrics(metrics: dict[str, float], folder: str) -> None:
    """Print the validation and test metrics of a run."""
    splits = {"valid": "val", "test": "test"}
    names = ("loss", "ic", "icir", "rank_ic", "rank_icir", "days")
    table = pd.DataFrame(
        {name: [metrics[f"{split}/{name}"] for split in splits.values()] for name in names},
        index=pd.Index(splits),
    )
    print(table.to_string(float_format=lambda x: f"{x:.4f}"))
    print(f"results: {folder}")
