"""Resume a training run: find the checkpoint, and compare settings and data."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from alphazoo.config import DATA_KEYS, FILE_KEYS, flatten, instantiate
from alphazoo.data.lineage import Lineage, check_lineage, extend_lineage, read_lineage
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError, shorten
from alphazoo.files import copy_file
from alphazoo.market.fingerprint import GROWN
from alphazoo.models.checkpoint import read_checkpoint
from alphazoo.runs.folders import locked
from alphazoo.runs.run import Run, read_provenance
from alphazoo.runs.same_data import NEW_FOLDER, check_data
from alphazoo.training.checkpoints import LAST, PREVIOUS, logged_row

log = logging.getLogger(__name__)

# keys that do not affect a finished training run: file locations, and what follows training
AFTER = (*FILE_KEYS, *DATA_KEYS, "report", "backtest")
# keys that may be changed when resuming: also the length of training and the devices
FREE = (*AFTER, "trainer", "patience", "allow_leak")


@dataclass(frozen=True)
class ResumePoint:
    """The checkpoint that a training run resumes from.

    Attributes:
        file: The checkpoint.
        steps: Optimiser steps made so far.
        inside: Whether it lies in the run's own folder, whose logs are then continued.
        lineage: Lineage of the model, see `alphazoo.data.lineage`.
        row: What the log must have of the last epoch, see `alphazoo.training.logs`.
    """

    file: Path
    steps: int
    inside: bool
    lineage: Lineage
    row: Mapping[str, float]


def resume_point(config: DictConfig, data: MarketDataModule) -> ResumePoint | None:
    """Find the checkpoint that ``config.ckpt`` names; None to train from the beginning.

    Args:
        config: Config of the run.
        data: Data of the run, set up.

    Raises:
        InputError: The checkpoint cannot be read, was made with other settings or on data that have
            changed since, or has seen test days.
    """
    ckpt = config.get("ckpt")
    if ckpt is None:
        return None
    own = Path(config.folder) / "checkpoints"
    if ckpt == "last":
        if not (own / LAST).is_file():
            log.info("%s has no %s: training starts from the beginning", own, LAST)
            return None
        file, checkpoint = _read_last(own)
    else:
        file = Path(ckpt).expanduser()
        checkpoint = read_checkpoint(file)
    check_same_settings(file.parent.parent, config)
    about = checkpoint.get("MarketDataModule", {})
    inside, same_days = file.resolve().parent == own.resolve(), about.get("days") == data.ends
    remedy = NEW_FOLDER if inside else "a resumed run needs the same data: leave out ckpt"
    found = check_data(about.get("data", {}), data.fingerprint, str(file), remedy=remedy)
    if inside and found.kind == GROWN and not same_days:
        raise InputError(
            f"{file} was trained on {_describe(about['days'])}; the data have grown since, so the "
            f"segments are now {_describe(data.ends)}: a resumed run needs the same days"
        )
    lineage = read_lineage(checkpoint)
    if not (inside and same_days):
        lineage = extend_lineage(checkpoint, "ckpt", file)
    allow_leak = bool(config.get("allow_leak"))
    check_lineage(lineage, data, source=f"ckpt={file}", allow_leak=allow_leak)
    log.info("resuming from %s after %d epochs", file, checkpoint["epoch"] + 1)
    return ResumePoint(file, checkpoint["global_step"], inside, lineage, logged_row(checkpoint))


def _describe(days: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"{name} {first} to {last}" for name, (first, last) in days.items())


def check_same_settings(folder: Path, config: DictConfig) -> None:
    """Raise an `InputError` if the run in a folder cannot be resumed with these settings."""
    changed = changed_settings(folder, config, free=FREE)
    if changed:
        raise InputError(
            f"{folder} was made with other settings: {shorten(changed)}; a resumed run may change "
            "only trainer, patience, logger, report, backtest and file locations"
        )


def _read_last(folder: Path) -> tuple[Path, dict[str, Any]]:
    try:
        return folder / LAST, read_checkpoint(folder / LAST)
    except InputError:
        if not (folder / PREVIOUS).is_file():
            raise
        checkpoint = read_checkpoint(folder / PREVIOUS)
        log.warning("%s is damaged; resuming from %s", folder / LAST, PREVIOUS)
        rank_zero_only(_repair)(folder)
        return folder / PREVIOUS, checkpoint


def _repair(folder: Path) -> None:
    """Replace a damaged last checkpoint, which would otherwise be kept as the previous one."""
    copy_file(folder / PREVIOUS, folder / LAST)


def changed_settings(folder: Path, config: DictConfig, *, free: tuple[str, ...]) -> list[str]:
    """List the settings that differ from those of the run in a folder.

    Args:
        folder: Folder of the run; without a config there are no changes.
        config: The current config.
        free: Keys that may differ, including all keys below them.

    Returns:
        One text ``key=value instead of value`` per setting.
    """
    if not (folder / "config.yaml").is_file():
        return []
    before, now = flatten(Run.open(folder).config, free), flatten(config, free)
    return [
        f"{key}={now.get(key)} instead of {before.get(key)}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]


def is_finished(config: DictConfig) -> bool:
    """Return whether a run to resume has finished already with the same settings and data.

    Its trackers may differ. A run whose data have grown has not finished: it has new days to score.

    Raises:
        InputError: The data have changed since.
    """
    folder = Path(config.folder)
    results = ["scores.parquet", "metrics.json", "config.yaml"]
    results += ["report.html"] if config.report else []
    complete = all((folder / name).is_file() for name in results)
    if config.get("ckpt") != "last" or not complete:
        return False
    if changed_settings(folder, config, free=("folder", "ckpt", "logger")):
        return False
    data: MarketDataModule = instantiate(config.datamodule)
    record = read_provenance(folder).get("data", {})
    return check_data(record, data.read_fingerprint(), str(folder)).kind != GROWN


@contextmanager
def locked_run(folder: Path) -> Iterator[None]:
    """Lock a folder against other training runs; the lock of a killed process is released.

    Raises:
        InputError: Another process trains in the folder.
    """
    rank = getattr(rank_zero_only, "rank", 0)
    if rank:  # rank zero locks the folder for all processes of a run
        yield
        return
    with locked(folder, "trains in it"):
        yield
