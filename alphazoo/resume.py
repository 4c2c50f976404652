"""Going on with a training: from which checkpoint, with which settings, in whose folder."""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from alphazoo.checkpoints import BEFORE, LAST
from alphazoo.config import FILES, SOURCES, flatten, instantiate
from alphazoo.data.fingerprint import GROWN
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError, shorten
from alphazoo.files import read_checkpoint, replacing
from alphazoo.folders import held
from alphazoo.lineage import Lineage, check_lineage, descend, read_lineage
from alphazoo.runs import Run
from alphazoo.same_data import ANEW, check_data

log = logging.getLogger(__name__)

# what changes nothing of a training that has ended: where files are, and what comes after it
AFTER = (*FILES, *SOURCES, "report", "backtest")
# what may be other when a training goes on: how long it is, and on what it runs, too
FREE = (*AFTER, "trainer", "patience", "allow_leak")


@dataclass(frozen=True)
class ResumePoint:
    """Where a training goes on.

    Attributes:
        file: The checkpoint.
        steps: Steps that were made by then.
        inside: Whether it is of the run's own folder, whose logs go on, too.
        lineage: Of the model, see `alphazoo.lineage`.
    """

    file: Path
    steps: int
    inside: bool
    lineage: Lineage


def resume_point(config: DictConfig, data: MarketDataModule) -> ResumePoint | None:
    """Find what ``config.ckpt`` asks for; None where the training starts from the beginning.

    Args:
        config: Of the run.
        data: Its data, set up.

    Raises:
        InputError: The checkpoint cannot be read, was made with other settings or on data that have
            changed since, or has seen test days.
    """
    asked = config.get("ckpt")
    if asked is None:
        return None
    own = Path(config.folder) / "checkpoints"
    if asked == "last":
        if not (own / LAST).is_file():
            log.info("%s has no %s: the training starts from the beginning", own, LAST)
            return None
        file, checkpoint = _read_last(own)
    else:
        file = Path(asked).expanduser()
        checkpoint = read_checkpoint(file)
    check_same(file.parent.parent, config)
    about = checkpoint.get("MarketDataModule", {})
    inside, same_days = file.resolve().parent == own.resolve(), about.get("days") == data.ends
    remedy = ANEW if inside else "a training run goes on with its own data: leave out ckpt"
    found = check_data(about.get("data", {}), data.fingerprint, str(file), remedy=remedy)
    if inside and found.kind == GROWN and not same_days:
        raise InputError(
            f"{file} was trained on the days {_say(about['days'])}, and the data have grown since, "
            f"so that they are now {_say(data.ends)}: a training run goes on with its own days"
        )
    lineage = read_lineage(checkpoint)
    if not (inside and same_days):
        lineage = descend(checkpoint, "ckpt", file)
    allow_leak = bool(config.get("allow_leak"))
    check_lineage(lineage, data, source=f"ckpt={file}", allow_leak=allow_leak)
    log.info("going on from %s, after %d epochs", file, checkpoint["epoch"] + 1)
    return ResumePoint(file, checkpoint["global_step"], inside, lineage)


def _say(days: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"{name} {first} to {last}" for name, (first, last) in days.items())


def check_same(folder: Path, config: DictConfig) -> None:
    """Raise an `InputError` unless what was trained in a folder can go on as it is told now."""
    changed = changes(folder, config, free=FREE)
    if changed:
        raise InputError(
            f"{folder} was made with other settings: {shorten(changed)}; a training goes on with "
            "its own, save trainer, patience, logger, report and backtest"
        )


def _read_last(folder: Path) -> tuple[Path, dict[str, Any]]:
    try:
        return folder / LAST, read_checkpoint(folder / LAST)
    except InputError:
        if not (folder / BEFORE).is_file():
            raise
        checkpoint = read_checkpoint(folder / BEFORE)
        log.warning("%s is damaged; the one before is used", folder / LAST)
        rank_zero_only(_repair)(folder)
        return folder / BEFORE, checkpoint


def _repair(folder: Path) -> None:
    """Else the damaged file would be put aside as the one before the next."""
    with replacing(folder / LAST) as file:
        shutil.copyfile(folder / BEFORE, file)


def changes(folder: Path, config: DictConfig, *, free: tuple[str, ...]) -> list[str]:
    """Settings, ``key=value instead of value``, that are not those of the run in a folder.

    Args:
        folder: Of the run; without a config nothing is said to differ.
        config: What is told now.
        free: Keys that may differ, with all below them.
    """
    if not (folder / "config.yaml").is_file():
        return []
    before, now = flatten(Run.open(folder).config, free), flatten(config, free)
    return [
        f"{key}={now.get(key)} instead of {before.get(key)}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]


def has_ended(config: DictConfig) -> bool:
    """Whether a run that is to go on has ended already, with the same settings and data.

    Its trackers may be others. A run whose data have grown is not at its end: it has new days to
    score.

    Raises:
        InputError: The data have changed since.
    """
    folder = Path(config.folder)
    results = ["scores.parquet", "metrics.json", "config.yaml"]
    results += ["report.html"] if config.report else []
    told = all((folder / name).is_file() for name in results)
    if config.get("ckpt") != "last" or not told:
        return False
    if changes(folder, config, free=("folder", "ckpt", "logger")):
        return False
    data: MarketDataModule = instantiate(config.datamodule)
    record = Run.open(folder).facts.get("data", {})
    return check_data(record, data.read_fingerprint(), str(folder)).kind != GROWN


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a folder; a process that dies leaves it.

    Raises:
        InputError: One does.
    """
    rank = getattr(rank_zero_only, "rank", 0)
    if rank:  # the first process keeps the folder for all of a run
        yield
        return
    with held(folder, "trains in it"):
        yield
