"""What a training run does on SIGTERM."""

import signal
import threading
from typing import Any

import lightning as L

from alphazoo.errors import StoppedError


class KeepSignalHandler(L.Callback):
    """Puts the handler of SIGTERM back that Lightning has replaced.

    Lightning's own makes all processes of a run talk to each other, which hangs if they are in the
    middle of something else. With the handler of the command line, each process just ends.
    """

    def __init__(self) -> None:
        self.handler = signal.getsignal(signal.SIGTERM)  # None if it is not one of Python

    def on_sanity_check_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the handler back."""
        main = threading.current_thread() is threading.main_thread()
        if main and self.handler is not None:
            signal.signal(signal.SIGTERM, self.handler)

    on_train_start = on_sanity_check_start
    on_validation_start = on_sanity_check_start
    on_test_start = on_sanity_check_start

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Stop the processes that this one has started."""
        launcher: Any = trainer.strategy.launcher
        if isinstance(exception, StoppedError) and launcher is not None:
            launcher.kill(signal.SIGTERM)
