"""The sweepers of `alphazoo train -m`; Hydra looks for sweepers only in this namespace.

Hydra imports this file at every start, so it imports nothing heavy. It is long because Hydra
expects all of them in one module.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, read_write

from alphazoo.bounds import NonNegativeInt, PositiveInt
from alphazoo.errors import InputError, StoppedError
from alphazoo.files import write_text

log = logging.getLogger(__name__)


class AlphazooSweeper(Sweeper):
    """Base class of all sweepers; it sets up the launcher and the folder of the sweep.

    Args:
        params: Overrides by key; overrides on the command line take precedence.
    """

    hydra_context: HydraContext
    config: DictConfig
    launcher: Launcher

    def __init__(self, params: dict[str, Any] | None) -> None:
        self.params = params or {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Store the context and config that Hydra passes, and create the launcher."""
        from hydra.core.plugins import Plugins

        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def parse(self, arguments: list[str]) -> dict[str, Override]:
        """Check the settings of the sweeper; parse the overrides by key, the last one counts."""
        from alphazoo.runs.settings import check_sweeper

        known = self.config.copy()
        with read_write(known.hydra):
            known.hydra.sweep.dir = "."  # the default name creates a folder
        check_sweeper(known)
        given = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        return {o.get_key_element(): o for o in parser.parse_overrides(given)}

    def make_folder(self) -> Path:
        """Create the folder of the sweep, once no job has an invalid setting."""
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def save_config(self, folder: Path) -> None:
        """Write the config of the sweep, ``multirun.yaml``."""
        write_text(folder / "multirun.yaml", OmegaConf.to_yaml(self.config))

    def check(self, jobs: Sequence[Sequence[str]]) -> None:
        """Raise an error if a setting of any job is invalid."""
        from alphazoo.sweep.jobs import check_job

        for overrides in jobs:
            check_job(self.compose(overrides))

    def launch(self, jobs: Mapping[Path, Sequence[str]]) -> None:
        """Run jobs; each writes its status into its folder."""
        from alphazoo.sweep.processes import sweep_process

        told = [[*job, f"hydra.sweep.subdir={path.name}"] for path, job in jobs.items()]
        try:
            if told:
                with sweep_process(self.config.hydra.launcher._target_, len(told)):
                    self.launcher.launch(told, initial_job_idx=0)
        except StoppedError as stop:
            where = quote(f"hydra.sweep.dir={self.config.hydra.sweep.dir}")
            stop.add_note(f"the same command with {where} runs what is missing")
            raise
        except Exception as error:  # a process was killed: its jobs have no final status
            log.error("%s: %s", type(error).__name__, error)

    def launch_missing(
        self, jobs: Mapping[Path, Sequence[str]], outdated: Collection[Path] = ()
    ) -> None:
        """Run the jobs that have not finished, and resume those with new days to score."""
        from alphazoo.sweep.data import resume_overrides
        from alphazoo.sweep.jobs import is_done

        wanted = {path: job for path, job in jobs.items() if not is_done(path)}
        wanted |= {path: resume_overrides(job) for path, job in jobs.items() if path in outdated}
        self.launch(wanted)

    def find_outdated(self, jobs: Mapping[Path, Sequence[str]]) -> list[Path]:
        """Compare the data of finished jobs with those of now, see `alphazoo.sweep.data`."""
        from alphazoo.sweep.data import (
            cached_reader,
            data_overrides,
            find_outdated,
            read_fingerprint,
        )

        configs: dict[tuple[str, ...], DictConfig] = {}
        read, finished = cached_reader(read_fingerprint), []
        for path, job in jobs.items():
            if (path / "metrics.json").is_file():
                about = data_overrides(job)
                config = configs.get(about) or self.compose(about)
                configs[about] = config
                finished.append((path, config, read(config)))
        return find_outdated(finished)

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Return the config of a job, without Hydra's own node."""
        from alphazoo.config import without_hydra

        config: DictConfig = self.hydra_context.config_loader.load_sweep_config(
            master_config=self.config, sweep_overrides=[*overrides]
        )
        return without_hydra(config)


class Grid(AlphazooSweeper):
    """Runs every combination that is not finished in the folder, or has new days to score."""

    def sweep(self, arguments: list[str]) -> None:
        """Run the jobs, then print and write their table.

        Raises:
            InputError: The data have changed since a job finished.
            JobsFailedError: Some jobs have no result; all other jobs have one.
        """
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        from alphazoo.sweep.jobs import assign
        from alphazoo.sweep.locks import locked_sweep
        from alphazoo.sweep.table import conclude

        overrides = self.parse(arguments)
        combinations = BasicSweeper.split_arguments([*overrides.values()], None)[0]
        self.check(combinations)
        folder = self.make_folder()
        with locked_sweep(folder):
            self.save_config(folder)
            jobs = assign(folder, combinations)
            self.launch_missing(jobs, self.find_outdated(jobs))
            conclude(folder, jobs)


class Benchmark(AlphazooSweeper):
    """Runs models, feature sets and seeds with the published settings, and writes a table of them.

    The table compares the results with the published ones.

    Args:
        params: As for the other sweepers; ``model``, ``features`` and ``seed`` are combined.
        settings: Read by `alphazoo.sweep.plan`, see ``configs/hydra/sweeper/benchmark.yaml``.
    """

    def __init__(
        self,
        params: dict[str, Any] | None,
        *,
        patience: PositiveInt,
        based: list[str],
        concepts: dict[str, str],
        **settings: Any,
    ) -> None:
        super().__init__(params)

    def sweep(self, arguments: list[str]) -> None:
        """Run what is missing, base models first, and write the table.

        Raises:
            InputError: A setting or the data are invalid, or the data have changed since a run.
            JobsFailedError: Some jobs have no result; all other jobs have one.
        """
        from alphazoo.sweep.benchmark import conclude, read_data
        from alphazoo.sweep.jobs import is_done, refuse_job
        from alphazoo.sweep.locks import locked_sweep
        from alphazoo.sweep.plan import Plan

        overrides = self.parse(arguments)
        published = self.hydra_context.config_loader.get_group_options("experiment")
        plan = Plan(overrides, self.config.hydra.sweeper, published, self.compose)
        folder = self.make_folder()
        plan.place(folder)
        with locked_sweep(folder):
            self.save_config(folder)
            data = read_data(plan)
            alone = {e.folder: e.overrides for e in plan.entries if not e.base}
            self.launch_missing(alone, data.outdated)
            ready = {}
            for entry in plan.entries:
                if entry.base and is_done(entry.base):
                    ready[entry.folder] = entry.overrides
                elif entry.base and not is_done(entry.folder):
                    refuse_job(entry.folder, entry.overrides, f"{entry.base} has no result")
            self.launch_missing(ready, data.outdated)
            conclude(folder, plan, data)


class Search(AlphazooSweeper):
    """Runs trials whose settings Optuna chooses by a validation metric.

    Several processes may work on one study; each stops when the study is complete.

    Args:
        params: The search space and other overrides, by key.
        settings: Read by `alphazoo.sweep.study`, see ``configs/hydra/sweeper/optuna.yaml``.
    """

    def __init__(
        self,
        params: dict[str, Any] | None,
        *,
        n_trials: PositiveInt,
        n_jobs: PositiveInt,
        storage: str | None,
        study: str,
        heartbeat: PositiveInt,
        retries: NonNegativeInt,
        trial: NonNegativeInt | None,
        **settings: Any,
    ) -> None:
        super().__init__(params)

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until the study is complete, then print and write their table.

        Raises:
            InputError: The space, the storage or the study is invalid, the data have changed since
                a trial, or Optuna is not installed.
            JobsFailedError: Some trials of this worker have no result.
        """
        if find_spec("optuna") is None:
            raise InputError("a search needs Optuna: pip install 'alphazoo[search]'")
        from alphazoo.sweep.jobs import STATUS
        from alphazoo.sweep.space import n_sample_points, parse_space, sample_point
        from alphazoo.sweep.storage import storage_errors
        from alphazoo.sweep.study import Study, check_monitor
        from alphazoo.sweep.table import conclude

        overrides = self.parse(arguments)
        fixed = [
            f"{key}={given.get_value_element_as_str()}"
            for key, given in overrides.items()
            if not given.is_sweep_override()
        ]
        space = parse_space([o for o in overrides.values() if o.is_sweep_override()])
        check_monitor(self.config.monitor)
        self.check(
            [[*fixed, *sample_point(space, index)] for index in range(n_sample_points(space))]
        )
        folder = self.make_folder()
        self.save_config(folder)
        ran: dict[Path, Sequence[str]] = {}
        settings = self.config.hydra.sweeper
        with storage_errors(settings.storage):
            study = Study(settings, folder, space, self.config.monitor, self.config.mode)
            self._compare_trials(folder, settings.study)
            while trials := study.ask(settings.n_jobs, settings.n_trials):
                jobs = {
                    folder / f"{settings.study}-{number}": [
                        *fixed,
                        *drawn,
                        f"hydra.sweeper.trial={number}",
                    ]
                    for number, drawn in trials.items()
                }
                for path in jobs:  # a study in another storage may have used this name
                    (path / STATUS).unlink(missing_ok=True)
                with study.alive(trials):
                    self.launch(jobs)
                for number, path in zip(trials, jobs, strict=True):
                    study.tell(number, path)
                ran |= jobs
            print(study.best())
        conclude(folder, ran)

    def _compare_trials(self, folder: Path, study: str) -> None:
        """Warn of trials with fewer test days: they are chosen by validation days, as they were."""
        from alphazoo.sweep.jobs import read_jobs

        trials = {
            path: job.overrides
            for path, job in read_jobs(folder).items()
            if path.name.startswith(f"{study}-")
        }
        outdated = self.find_outdated(trials)
        if outdated:
            log.warning(
                "%d trials were scored before the data grew: their test days are fewer than those "
                "of trials to come, their validation days are the same",
                len(outdated),
            )
