"""The jobs of a sweep: their folders and their status."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Literal

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError
from typing_extensions import TypedDict

from alphazoo.errors import AlphazooError, InputError, PrunedError, StoppedError
from alphazoo.files import write_json
from alphazoo.runs.folders import is_locked
from alphazoo.runs.read import read_json
from alphazoo.runs.settings import check_settings
from alphazoo.sweep.locks import claim_gpu
from alphazoo.sweep.processes import end_with_sweep

log = logging.getLogger(__name__)

STATUS = "status.json"
CKPT_LAST = "ckpt=last"  # does not change the identity of a job


@dataclass
class Job:
    """The status of a job, stored as ``status.json`` in its folder.

    Attributes:
        overrides: Overrides of the default config.
        status: ``"running"``, ``"done"``, ``"pruned"`` or ``"failed"``. A job that is still
            ``"running"`` after the sweep has ended was killed.
        error: Why the job failed or was pruned.
        seconds: Time from its start to its end.
    """

    overrides: list[str]
    status: str = "running"
    error: str | None = None
    seconds: float | None = None

    @property
    def settings(self) -> dict[str, str]:
        """Values of the overrides by key."""
        pairs = (override.lstrip("+").partition("=") for override in self.overrides)
        return {key: value for key, _, value in pairs}


class Status(TypedDict):
    """The content of ``status.json``."""

    overrides: list[str]
    status: Literal["running", "done", "pruned", "failed"]
    error: str | None
    seconds: float | None


UNKNOWN = Job([])


def check_job(config: DictConfig) -> None:
    """Check the settings of a job before any job starts.

    Settings that refer to values known only when the job starts, such as its number, are skipped;
    the job checks them itself.

    Raises:
        InputError: A setting is invalid.
    """
    from alphazoo.training.fit import check_instantiable

    known = config.copy()
    if OmegaConf.is_interpolation(known, "folder"):
        known.folder = "."
    try:
        check_settings(known)
        check_instantiable(known)
    except InterpolationResolutionError as error:
        log.debug("not checked until the job starts: %s", error)


def run_in_sweep(config: DictConfig, task: Callable[[DictConfig], object]) -> None:
    """Run a task that Hydra starts, either as a job of an alphazoo sweep or as a single run.

    A job of a sweep records its errors; those of a single run are raised.

    Args:
        config: Config of the job.
        task: Called with the config.
    """
    hydra = HydraConfig.get()
    own_sweeper = str(hydra.sweeper._target_).startswith("hydra_plugins.alphazoo")
    if not own_sweeper or OmegaConf.is_missing(hydra.job, "num"):
        task(config)
        return

    def run_on_one_device() -> None:
        trainer = config.trainer
        if (trainer.devices, trainer.num_nodes) != (1, 1):
            raise InputError(
                f"a job of a sweep uses one device, got trainer.devices={trainer.devices} and "
                f"trainer.num_nodes={trainer.num_nodes}: without -m, all devices train one model"
            )
        task(config)

    end_with_sweep()
    claim_gpu(config, Path(hydra.sweep.dir))
    run_job(Path(hydra.runtime.output_dir), hydra.overrides.task, run_on_one_device)


def run_job(folder: Path, overrides: Sequence[str], task: Callable[[], object]) -> None:
    """Run a job and write its status into its folder.

    Errors are recorded and not raised, so that the other jobs of the sweep continue. Only if the
    process is killed does the status stay ``"running"``. A job that another process runs is left
    alone, and so is its status.
    """
    if is_locked(folder):
        log.error("error: %s is in use: another process trains in it", folder)
        return
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
    except Exception as error:  # no error may stop the other jobs
        job.status, job.error = "failed", f"{type(error).__name__}: {error}"
        log.exception("error")
    except StoppedError as stop:
        job.status, job.error = "failed", str(stop)
        raise
    finally:
        job.seconds = time.monotonic() - start
        write_json(folder / STATUS, asdict(job))


def refuse_job(folder: Path, overrides: Sequence[str], reason: str) -> None:
    """Record that a job cannot run, and why."""
    log.error("%s: %s", folder, reason)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / STATUS, asdict(Job([*overrides], "failed", reason)))


def read_jobs(folder: Path) -> dict[Path, Job]:
    """Return the jobs of a sweep by folder, in the order of their numbers, without unknown ones."""
    files = sorted(folder.glob(f"*/{STATUS}"), key=lambda file: (len(file.parent.name), file))
    jobs = {file.parent: read_job(file.parent) for file in files}
    return {path: job for path, job in jobs.items() if job is not UNKNOWN}


def read_job(folder: Path) -> Job:
    """Return the job of a folder; one that has not started counts as ``"running"``.

    A damaged status is that of an unknown job, which has not ended.
    """
    file = folder / STATUS
    if not file.is_file():
        return Job([])
    try:
        known = read_json(file, Status)
    except InputError as error:
        log.warning("%s: the job counts as not started", error)
        return UNKNOWN
    return Job(known["overrides"], known["status"], known["error"], known["seconds"])


def is_done(folder: Path) -> bool:
    """Return whether a job needs no further work: it has results or was pruned."""
    job = read_job(folder)
    return job.status == "pruned" or (job.status == "done" and (folder / "metrics.json").is_file())


def assign(folder: Path, jobs: Sequence[Sequence[str]]) -> dict[Path, Sequence[str]]:
    """Assign a folder to each job: that of an earlier attempt, or a new one.

    A job is identified by its overrides in any order, without ``ckpt=last``. Folders are numbered,
    because overrides may be long and contain slashes.

    Args:
        folder: Folder of the sweep.
        jobs: The overrides of each job.
    """
    earlier = {_identity(job.overrides): path for path, job in read_jobs(folder).items()}
    numbers = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
    unused = count(max(numbers, default=-1) + 1)
    return {earlier.get(_identity(job)) or folder / str(next(unused)): job for job in jobs}


def _identity(overrides: Sequence[str]) -> frozenset[str]:
    return frozenset(overrides) - {CKPT_LAST}
