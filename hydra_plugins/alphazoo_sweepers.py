"""What `alphazoo train -m` sweeps with; Hydra looks for sweepers in this namespace alone.

Hydra imports this file at every start, so it imports nothing heavy.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)


class AlphazooSweeper(Sweeper):
    """What both sweepers share: the launcher, and the folder of the sweep.

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

    def begin(self, arguments: list[str]) -> tuple[Path, list[Override]]:
        """Make the folder and parse the overrides, of which the last of a key counts."""
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        given = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        return folder, parser.parse_overrides(given)

    def launch(self, jobs: Sequence[Sequence[str]]) -> None:
        """Run jobs, each of which leaves a status in its folder."""
        try:
            if jobs:
                self.launcher.launch(jobs, initial_job_idx=0)
        except Exception as error:  # a process of the launcher was killed: what it ran has no end
            log.error("%s: %s", type(error).__name__, error)


class Grid(AlphazooSweeper):
    """Every combination, of those in the folder only what is missing."""

    def sweep(self, arguments: list[str]) -> None:
        """Run the jobs, then print and write their table.

        Raises:
            JobsFailedError: Some jobs have no result; the others have.
        """
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        from alphazoo.sweep import conclude, only_here, plan

        folder, overrides = self.begin(arguments)
        jobs = BasicSweeper.split_arguments(overrides, None)[0]
        with only_here(folder):
            missing = plan(folder, jobs)
            self.validate_batch_is_legal(missing)  # an unknown key ends the sweep before it begins
            self.launch(missing)
            conclude(folder, jobs)
