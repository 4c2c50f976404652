"""What is wrong with the settings of a run is said before Hydra makes the folder of the run."""

import copy
import os
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write

UNKNOWN = "folder"  # asking for that of hydra.run.dir would make it


class RefusedError(BaseException):
    """Carries a fault past Hydra, which makes a warning of an exception of a callback."""

    def __init__(self, fault: Exception) -> None:
        super().__init__(fault)
        self.fault = fault


class CheckSettings(Callback):
    """Checks the settings of a single run; a sweep checks those of its jobs."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Before there is a folder."""
        from alphazoo.config import take_run
        from alphazoo.fit import try_nodes
        from alphazoo.settings import check_settings

        try:
            settings = copy.deepcopy(config)
            runtime = settings.hydra.runtime
            with read_write(runtime), open_dict(runtime):
                runtime.output_dir = os.path.abspath(UNKNOWN)
            HydraConfig.instance().set_config(copy.deepcopy(settings))  # ${hydra:...} looks there
            run = take_run(settings)
            check_settings(run)
            try_nodes(run)
        except Exception as fault:
            raise RefusedError(fault) from fault
