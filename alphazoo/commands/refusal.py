"""What happens before Hydra writes into the folder of a single run."""

import copy
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write

from alphazoo.commands.importing import importing


class RefusedError(BaseException):
    """Carries an error past Hydra, which turns an exception of a callback into a warning."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class CheckSettings(Callback):
    """Checks the settings of a single run and holds its folder; a sweep checks its jobs itself."""

    def __init__(self) -> None:
        self.held = ExitStack()

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Raise a `RefusedError` if a setting cannot be used or the folder is in use."""
        with importing():
            from alphazoo.config import instantiate, without_hydra
            from alphazoo.runs.settings import check_settings
            from alphazoo.training.fit import check_instantiable
            from alphazoo.training.quiet import silence_libraries
            from alphazoo.training.resume import locked_run

        try:
            settings = _without_folder(config)
            HydraConfig.instance().set_config(copy.deepcopy(settings))  # ${hydra:...} looks there
            run = without_hydra(settings)
            check_settings(run)
            check_instantiable(run)
            silence_libraries()
            instantiate(run.trainer)  # not by a sweep, which may be started where no GPU is
            self.held.enter_context(locked_run(Path(config.hydra.run.dir)))
        except Exception as error:
            raise RefusedError(error) from error

    def on_run_end(self, config: DictConfig, **_: Any) -> None:
        """Release the folder."""
        self.held.close()


def _without_folder(config: DictConfig) -> DictConfig:
    """A copy in which the folder has a name that does not create it."""
    settings = copy.deepcopy(config)
    hydra = settings.hydra
    with read_write(hydra), open_dict(hydra):
        hydra.run.dir = hydra.sweep.dir = hydra.runtime.output_dir = "."
    return settings
