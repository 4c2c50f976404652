"""Tracking: what a run is told, made of and worth, for loggers beside its own folder.

Every run writes ``logs/metrics.csv``; ``logger=...`` chooses who is told, too. All of them are told
the same: settings and facts when the training begins, figures as Lightning logs them, and in the
end the figures of ``metrics.json`` and the files that a reader wants.
"""

import json
import math
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from alphazoo.config import flatten, instantiate
from alphazoo.errors import InputError, PrunedError
from alphazoo.files import write_json
from alphazoo.runs import Run

TRACKING = "tracking.json"
KEPT = ("config.yaml", "facts.json", "metrics.json", "report.html", "windows.csv", "figures/*.png")
# what repeats other keys, and where a run is tracked, which may name a password
LEFT_OUT = (
    *("ckpt", "datamodule", "logger", "trainer.default_root_dir"),
    *("trainer.logger", "trainer.plugins", "trainer.callbacks"),
)
DIGESTS = ("facts.data.parts", "facts.data.months")  # many, and of no use beside the fingerprint
ENV = re.compile(r"\$\{oc\.env:\w+\}")
PASSWORD = re.compile(r"//[^/@:\s]*:[^/\s]+@")


class Tracker(Logger):
    """A logger that also keeps what came of a run, and goes on where a run does.

    Args:
        folder: Of the run; its `TRACKING` remembers what the tracker calls it.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def recall(self) -> dict[str, Any]:
        """What was remembered of this run."""
        known: dict[str, Any] = _remembered(self.folder).get(str(self.name), {})
        return known

    def remember(self, **known: Any) -> None:
        """Keep for the time when the run goes on."""
        write_json(self.folder / TRACKING, {**_remembered(self.folder), str(self.name): known})

    @abstractmethod
    def log_files(self, files: Sequence[Path]) -> None:
        """Keep files of the folder of a run that has ended."""

    def end(self, status: str) -> None:
        """Hear that the run is ``"finished"``, ``"failed"`` or ``"killed"``."""


@contextmanager
def tracked(config: DictConfig) -> Iterator[list[Tracker]]:
    """The trackers of a run, from before its data are read until its results are written.

    Raises:
        InputError: One of them cannot be had: before there is any work to lose.
    """
    _refuse_passwords(config)
    folder = Path(config.folder)
    trackers = [instantiate(node, folder=folder) for node in config.logger.values()]
    try:
        yield trackers
        describe(trackers, folder)
        _log_results(trackers, folder)
    except BaseException as error:
        stopped = isinstance(error, PrunedError) or not isinstance(error, Exception)
        for tracker in trackers:
            tracker.end("killed" if stopped else "failed")
        raise
    for tracker in trackers:
        tracker.end("finished")


def _refuse_passwords(config: DictConfig) -> None:
    """Keep passwords out of ``config.yaml``, where a variable of the environment stays its name."""
    for tracker, node in config.logger.items():
        said: Any = OmegaConf.to_container(node)
        for key, value in said.items():
            if PASSWORD.search(ENV.sub("", str(value))):
                raise InputError(
                    f"logger.{tracker!s}.{key!s} holds a password, which config.yaml would show: "
                    "set MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME and "
                    "MLFLOW_TRACKING_PASSWORD, or write ${oc.env:NAME} for it"
                )


@rank_zero_only
def describe(trackers: Sequence[Logger], folder: Path) -> None:
    """Tell trackers what a run is told and, as far as it is known, what it is made of."""
    if not trackers:
        return
    run = Run.open(folder)
    made_of = flatten(OmegaConf.create({"facts": run.facts}), DIGESTS)
    for tracker in trackers:
        tracker.log_hyperparams({**flatten(run.config, LEFT_OUT), **made_of})


@rank_zero_only
def _log_results(trackers: Sequence[Tracker], folder: Path) -> None:
    found = Run.open(folder).metrics
    figures = {name: value for name, value in found.items() if value is not None}
    files = [file for kept in KEPT for file in sorted(folder.glob(kept))]
    for tracker in trackers:
        tracker.log_metrics(figures, last_step(folder))
        tracker.log_files(files)


def last_step(folder: Path) -> int:
    """Steps of the training of a run; 0 of one that walked forward, which has several."""
    file = folder / "logs" / "metrics.csv"
    return int(pd.read_csv(file, usecols=["step"])["step"].max()) if file.is_file() else 0


def finite(figures: Mapping[str, float]) -> dict[str, float]:
    """Figures that are defined: trackers draw no others."""
    numbers = {name: float(value) for name, value in figures.items()}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def need(package: str, extra: str) -> None:
    """Raise an `InputError` unless a package that an extra brings is installed."""
    found = find_spec(package)
    if found is None or found.origin is None:  # a folder of that name is none
        raise InputError(
            f"logger={extra} needs the package {package}: pip install 'alphazoo[{extra}]'"
        )


def _remembered(folder: Path) -> dict[str, Any]:
    file = folder / TRACKING
    found: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return found
