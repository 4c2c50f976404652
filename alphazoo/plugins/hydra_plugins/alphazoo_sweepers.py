"""What `alphazoo train -m` sweeps with; Hydra looks for sweepers in this namespace alone.

Hydra imports this file at every start, so it imports nothing heavy.
"""

import logging
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from alphazoo.errors import InputError

log = logging.getLogger(__name__)


class AlphazooSweeper(Sweeper):
    """What all sweepers share: the launcher, and the folder of the sweep.

    Args:
        params: Overrides by key, used beside those of the command line, which come first.
    """

    hydra_context: HydraContext
    config: DictConfig
    launcher: Launcher

    def __init__(self, params: dict[str, Any] | None) -> None:
        self.params = params or {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra hands over."""
        from hydra.core.plugins import Plugins

        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def parse(self, arguments: list[str]) -> tuple[Path, dict[str, Override]]:
        """The folder, and the overrides by key, of which the last counts."""
        folder = Path(self.config.hydra.sweep.dir)
        given = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        return folder, {o.get_key_element(): o for o in parser.parse_overrides(given)}

    def make_folder(self) -> None:
        """Make the folder, once nothing is wrong with the jobs."""
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")

    def check(self, jobs: Sequence[Sequence[str]]) -> None:
        """Refuse a sweep one of whose jobs has a setting that cannot be used."""
        from alphazoo.sweep.jobs import check_job

        for overrides in jobs:
            check_job(self.compose(overrides))

    def launch(self, jobs: Mapping[Path, Sequence[str]]) -> None:
        """Run jobs, each of which leaves a status in its folder."""
        told = [[*job, f"hydra.sweep.subdir={path.name}"] for path, job in jobs.items()]
        try:
            if told:
                self.launcher.launch(told, initial_job_idx=0)
        except Exception as error:  # a process of the launcher was killed: what it ran has no end
            log.error("%s: %s", type(error).__name__, error)

    def launch_missing(self, jobs: Mapping[Path, Sequence[str]]) -> None:
        """Run jobs that have not ended yet."""
        from alphazoo.sweep.jobs import is_done

        self.launch({path: job for path, job in jobs.items() if not is_done(path)})

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The config of a job, without what Hydra knows of itself."""
        from alphazoo.config import take_run

        config: DictConfig = self.hydra_context.config_loader.load_sweep_config(
            master_config=self.config, sweep_overrides=[*overrides]
        )
        return take_run(config)


class Grid(AlphazooSweeper):
    """Every combination, of those in the folder only what is missing."""

    def sweep(self, arguments: list[str]) -> None:
        """Run the jobs, then print and write their table.

        Raises:
            JobsFailedError: Some jobs have no result; the others have.
        """
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        from alphazoo.sweep.jobs import assign
        from alphazoo.sweep.locks import only_here
        from alphazoo.sweep.table import conclude

        folder, overrides = self.parse(arguments)
        combinations = BasicSweeper.split_arguments([*overrides.values()], None)[0]
        self.check(combinations)
        self.make_folder()
        with only_here(folder):
            jobs = assign(folder, combinations)
            self.launch_missing(jobs)
            conclude(folder, jobs)


class Benchmark(AlphazooSweeper):
    """Models, feature sets and seeds with published settings, and the published table of them.

    Args:
        params: As those of the others; ``model``, ``features`` and ``seed`` are combined.
        settings: What `alphazoo.sweep.plan` reads, see ``configs/hydra/sweeper/benchmark.yaml``.
    """

    def __init__(self, params: dict[str, Any] | None, **settings: Any) -> None:
        super().__init__(params)

    def sweep(self, arguments: list[str]) -> None:
        """Run what is missing, base models first, and write the table.

        Raises:
            InputError: A setting or the data cannot be used, or the data have changed since a run.
            JobsFailedError: Some jobs have no result; the others have.
        """
        from alphazoo.sweep.benchmark import conclude, read_data
        from alphazoo.sweep.jobs import is_done, refuse_job
        from alphazoo.sweep.locks import only_here
        from alphazoo.sweep.plan import Plan

        folder, overrides = self.parse(arguments)
        published = self.hydra_context.config_loader.get_group_options("experiment")
        plan = Plan(folder, overrides, self.config.hydra.sweeper, published, self.compose)
        self.make_folder()
        with only_here(folder):
            data = read_data(plan)
            self.launch_missing({e.folder: e.overrides for e in plan.entries if not e.base})
            ready = {}
            for entry in plan.entries:
                if entry.base and is_done(entry.base):
                    ready[entry.folder] = entry.overrides
                elif entry.base and not is_done(entry.folder):
                    refuse_job(entry.folder, entry.overrides, f"{entry.base} has no result")
            self.launch_missing(ready)
            conclude(folder, plan, data)


class Search(AlphazooSweeper):
    """Trials whose settings Optuna chooses by a figure of the valid days.

    Several processes may work on one study; each ends when the study has ended.

    Args:
        params: The search space, and other overrides, by key.
        settings: What `alphazoo.sweep.study` reads, see ``configs/hydra/sweeper/optuna.yaml``.
    """

    def __init__(self, params: dict[str, Any] | None, **settings: Any) -> None:
        super().__init__(params)

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until the study has as many as it should; print and write their table.

        Raises:
            InputError: The space, the storage or the study cannot be used, or Optuna is absent.
            JobsFailedError: Some trials of this worker have no result.
        """
        if find_spec("optuna") is None:
            raise InputError("a search needs Optuna: pip install 'alphazoo[search]'")
        from alphazoo.sweep.jobs import STATUS
        from alphazoo.sweep.space import corner, parse_space
        from alphazoo.sweep.storage import storage_errors
        from alphazoo.sweep.study import Study, check_monitor
        from alphazoo.sweep.table import conclude

        folder, overrides = self.parse(arguments)
        fixed = [
            f"{key}={given.get_value_element_as_str()}"
            for key, given in overrides.items()
            if not given.is_sweep_override()
        ]
        space = parse_space([o for o in overrides.values() if o.is_sweep_override()])
        check_monitor(self.config.monitor)
        self.check([[*fixed, *corner(space)]])
        self.make_folder()
        ran: dict[Path, Sequence[str]] = {}
        settings = self.config.hydra.sweeper
        with storage_errors(settings.storage):
            study = Study(settings, space, self.config.monitor, self.config.mode)
            while trials := study.ask(settings.n_jobs, settings.n_trials):
                jobs = {
                    folder / f"{settings.study}-{number}": [
                        *fixed,
                        *drawn,
                        f"hydra.sweeper.trial={number}",
                    ]
                    for number, drawn in trials.items()
                }
                for path in jobs:  # another storage may have had a trial of that name
                    (path / STATUS).unlink(missing_ok=True)
                with study.alive(trials):
                    self.launch(jobs)
                for number, path in zip(trials, jobs, strict=True):
                    study.tell(number, path)
                ran |= jobs
            print(study.best())
        conclude(folder, ran)
