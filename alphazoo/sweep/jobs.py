"""The jobs of a sweep: what becomes of each, and where."""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from alphazoo.errors import AlphazooError, InputError, PrunedError
from alphazoo.files import write_json
from alphazoo.settings import check_settings
from alphazoo.sweep.locks import take_gpu

log = logging.getLogger(__name__)

STATUS = "status.json"
CKPT_LAST = "ckpt=last"  # makes no other job of it


@dataclass
class Job:
    """What became of a job, as the ``status.json`` of its folder has it.

    Attributes:
        overrides: What it was told beyond the defaults.
        status: ``"running"``, ``"done"``, ``"pruned"`` or ``"failed"``. One that is still running
            when its sweep has ended was killed.
        error: Why it failed or was pruned.
        seconds: From its start to its end.
    """

    overrides: list[str]
    status: str = "running"
    error: str | None = None
    seconds: float | None = None

    @property
    def settings(self) -> dict[str, str]:
        """Its overrides by key."""
        pairs = (override.lstrip("+").partition("=") for override in self.overrides)
        return {key: value for key, _, value in pairs}


def check_job(config: DictConfig) -> None:
    """Refuse the settings of a job before any job begins.

    What Hydra says when a job starts, such as its number, is not known yet: the job checks again.

    Raises:
        InputError: A setting cannot be used.
    """
    from alphazoo.fit import try_nodes

    known = config.copy()
    if OmegaConf.is_interpolation(known, "folder"):
        known.folder = "."
    try:
        check_settings(known)
        try_nodes(known)
    except InterpolationResolutionError as error:
        log.debug("checked when the job starts: %s", error)


def run_in_sweep(config: DictConfig, task: Callable[[DictConfig], object]) -> None:
    """Run what Hydra asks for: a job of a sweep of ours, or a single run, whose faults are raised.

    Args:
        config: Of the job.
        task: What to do with it.

    Raises:
        InputError: A job of a sweep asks for several devices.
    """
    hydra = HydraConfig.get()
    ours = str(hydra.sweeper._target_).startswith("hydra_plugins.alphazoo")
    if not ours or OmegaConf.is_missing(hydra.job, "num"):
        task(config)
        return

    def alone() -> None:
        trainer = config.trainer
        if (trainer.devices, trainer.num_nodes) != (1, 1):
            raise InputError(
                f"a job of a sweep has one device, got trainer.devices={trainer.devices} and "
                f"num_nodes={trainer.num_nodes}: without -m all of them train one model"
            )
        task(config)

    take_gpu(config, Path(hydra.sweep.dir))
    run_job(Path(hydra.runtime.output_dir), hydra.overrides.task, alone)


def run_job(folder: Path, overrides: Sequence[str], task: Callable[[], object]) -> None:
    """Run a job and leave its status in its folder, whatever happens.

    A fault is recorded and not raised: other jobs of the sweep go on. Only a process that is
    killed leaves the job ``"running"``.
    """
    start = time.monotonic()
    job = Job([*overrides])
    write_json(folder / STATUS, asdict(job))
    try:
        task()
        job.status = "done"
    except PrunedError as reason:
        job.status, job.error = "pruned", str(reason)
        log.info("pruned: %s", reason)
    except AlphazooError as error:
        job.status, job.error = "failed", str(error)
        log.error("error: %s", error)
    except Exception as error:  # whatever it is, the other jobs have nothing to do with it
        job.status, job.error = "failed", f"{type(error).__name__}: {error}"
        log.exception("error")
    job.seconds = time.monotonic() - start
    write_json(folder / STATUS, asdict(job))


def refuse_job(folder: Path, overrides: Sequence[str], reason: str) -> None:
    """Record that a job cannot run."""
    log.error("%s: %s", folder, reason)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / STATUS, asdict(Job([*overrides], "failed", reason)))


def read_jobs(folder: Path) -> dict[Path, Job]:
    """Jobs of a sweep by their folders, in the order of their numbers."""
    files = sorted(folder.glob(f"*/{STATUS}"), key=lambda file: (len(file.parent.name), file))
    return {file.parent: read_job(file.parent) for file in files}


def read_job(folder: Path) -> Job:
    """The job of a folder; one that did not start is ``"running"``, like one that was killed."""
    file = folder / STATUS
    return Job(**json.loads(file.read_text())) if file.is_file() else Job([])


def is_done(folder: Path) -> bool:
    """Whether nothing is left to do for a job: it has results, or was not worth going on with."""
    job = read_job(folder)
    return job.status == "pruned" or (job.status == "done" and (folder / "metrics.json").is_file())


def assign(folder: Path, jobs: Sequence[Sequence[str]]) -> dict[Path, Sequence[str]]:
    """Give each job its folder: that of an earlier attempt, else a new one.

    A job is known by its overrides, in any order and without ``ckpt=last``; a number names its
    folder, because overrides may be long and hold slashes.

    Args:
        folder: Of the sweep.
        jobs: The overrides of each.
    """
    tried = {_identity(job.overrides): path for path, job in read_jobs(folder).items()}
    numbers = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
    unused = count(max(numbers, default=-1) + 1)
    return {tried.get(_identity(job)) or folder / str(next(unused)): job for job in jobs}


def _identity(overrides: Sequence[str]) -> frozenset[str]:
    return frozenset(overrides) - {CKPT_LAST}
