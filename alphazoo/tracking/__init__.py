"""Tracking: additional loggers for the settings, provenance, metrics and files of a run.

Every run writes ``logs/metrics.csv``; ``logger=...`` adds trackers. All trackers receive the same:
settings and provenance when training starts, metrics as Lightning logs them, and at the end the
metrics of ``metrics.json`` and the main files of the run folder.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from alphazoo.config import flatten, instantiate
from alphazoo.errors import InputError, PrunedError
from alphazoo.files import write_json
from alphazoo.runs.read import read_json, read_log
from alphazoo.runs.run import read_metrics, read_provenance

TRACKING = "tracking.json"
KEPT = (
    "config.yaml",
    "provenance.json",
    "metrics.json",
    "report.html",
    "windows.csv",
    "figures/*.png",
)
# keys that repeat others, and those of the trackers, whose addresses may contain a password
LEFT_OUT = (
    *("ckpt", "datamodule", "logger", "trainer.default_root_dir"),
    *("trainer.logger", "trainer.plugins", "trainer.callbacks"),
)
DIGESTS = (
    "provenance.data.parts",
    "provenance.data.months",
)  # many, and of no use beside the fingerprint


class Tracker(Logger):
    """A logger that also stores the results of a run, and continues when the run is resumed.

    Args:
        folder: Folder of the run; its file `TRACKING` stores how the tracker identifies the run.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def load_state(self) -> dict[str, Any]:
        """Return the values that `save_state` stored for this run."""
        known: dict[str, Any] = _remembered(self.folder).get(str(self.name), {})
        return known

    def save_state(self, **known: Any) -> None:
        """Store values for the time when the run is resumed."""
        write_json(self.folder / TRACKING, {**_remembered(self.folder), str(self.name): known})

    @abstractmethod
    def log_files(self, files: Sequence[Path]) -> None:
        """Store files of the folder of a finished run."""

    def end(self, status: str) -> None:
        """Record that the run is ``"finished"``, ``"failed"`` or ``"killed"``."""


@contextmanager
def open_trackers(config: DictConfig) -> Iterator[list[Tracker]]:
    """Yield the trackers of a run; enter before reading data, exit after writing the results.

    Raises:
        InputError: A tracker is not available. Nothing has been computed yet that could be lost.
    """
    folder = Path(config.folder)
    trackers = [instantiate(node, folder=folder) for node in config.logger.values()]
    try:
        yield trackers
        log_settings(trackers, config)
        _log_results(trackers, folder)
    except BaseException as error:
        stopped = isinstance(error, PrunedError) or not isinstance(error, Exception)
        for tracker in trackers:
            tracker.end("killed" if stopped else "failed")
        raise
    for tracker in trackers:
        tracker.end("finished")


@rank_zero_only
def log_settings(trackers: Sequence[Logger], config: DictConfig) -> None:
    """Log the settings of a run and, if available, its provenance."""
    if not trackers:
        return
    provenance = read_provenance(Path(config.folder))
    made_of = flatten(OmegaConf.create({"provenance": provenance}), DIGESTS)
    for tracker in trackers:
        tracker.log_hyperparams({**flatten(config, LEFT_OUT), **made_of})


@rank_zero_only
def _log_results(trackers: Sequence[Tracker], folder: Path) -> None:
    found = read_metrics(folder)
    figures = {name: value for name, value in found.items() if value is not None}
    files = [file for kept in KEPT for file in sorted(folder.glob(kept))]
    for tracker in trackers:
        tracker.log_metrics(figures, last_step(folder))
        tracker.log_files(files)


def last_step(folder: Path) -> int:
    """Return the last step that a run logged; 0 for a walk forward, which trains several models."""
    file = folder / "logs" / "metrics.csv"
    steps = read_log(file)["step"].astype(float) if file.is_file() else ()
    return int(max(steps, default=0))


def finite(figures: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics that are finite; trackers cannot plot the others."""
    numbers = {name: float(value) for name, value in figures.items()}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def need(package: str, extra: str) -> None:
    """Raise an `InputError` unless the package that an extra provides is installed."""
    found = find_spec(package)
    if found is None or found.origin is None:  # a folder of that name is not a package
        raise InputError(
            f"logger={extra} needs the package {package}: pip install 'alphazoo[{extra}]'"
        )


def _remembered(folder: Path) -> dict[str, dict[str, str | None]]:
    file = folder / TRACKING
    return read_json(file, dict[str, dict[str, str | None]]) if file.is_file() else {}
