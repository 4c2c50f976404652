"""Processes that run the jobs of a sweep end when the sweep does, also when it was killed."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

VARIABLE = "ALPHAZOO_SWEEP_PROCESS"
INTERVAL = 1.0  # seconds between two looks at the parent process


@contextmanager
def sweep_process() -> Iterator[None]:
    """Tell processes that are started in this context which process runs the sweep.

    Joblib keeps its workers for later use, in the folder and with the environment of this sweep, of
    which a later one knows nothing: they end with the context.
    """
    os.environ[VARIABLE] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        if "joblib.externals.loky" in sys.modules:
            from joblib.externals.loky import get_reusable_executor

            get_reusable_executor(reuse=True).shutdown(wait=True)


@cache
def end_with_sweep() -> None:
    """End this process as soon as its parent has ended, if that runs the sweep.

    Otherwise a worker of a killed joblib sweep would train on. Jobs of Submitit have another
    parent: they go on without the sweep, as those of a cluster must.
    """
    parent = os.getppid()
    if os.environ.get(VARIABLE) != str(parent):
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(INTERVAL)
        os._exit(1)  # the checkpoint of the last epoch is complete

    threading.Thread(target=watch, daemon=True).start()
