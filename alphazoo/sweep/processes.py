"""Processes of the jobs of a sweep: they share the cores, and they end when the sweep does."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

OWNER = "ALPHAZOO_SWEEP_PROCESS"
THREADS = "OMP_NUM_THREADS"
INTERVAL = 1.0  # seconds between two looks at the parent process


@contextmanager
def sweep_process(launcher: str, jobs: int) -> Iterator[None]:
    """Prepare the environment of the processes that are started in this context.

    They learn which process runs the sweep. Jobs that Submitit starts on this machine, all at once,
    get their share of the cores; Joblib shares them out by itself. Joblib keeps its workers for
    later use, in the folder and with the environment of this sweep: they end with the context.

    Args:
        launcher: Name of the launcher's class.
        jobs: Number of jobs.
    """
    told = {OWNER: str(os.getpid())}
    if launcher.endswith("submitit_launcher.LocalLauncher") and THREADS not in os.environ:
        told[THREADS] = str(max(1, count_cores() // jobs))
    os.environ.update(told)
    try:
        yield
    finally:
        for name in told:
            del os.environ[name]
        if "joblib.externals.loky" in sys.modules:
            from joblib.externals.loky import get_reusable_executor

            get_reusable_executor(reuse=True).shutdown(wait=True)


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS


@cache
def end_with_sweep() -> None:
    """End this process as soon as its parent has ended, if that runs the sweep.

    Otherwise a worker of a killed joblib sweep would train on. Jobs of Submitit have another
    parent: they go on without the sweep, as those of a cluster must.
    """
    parent = os.getppid()
    if os.environ.get(OWNER) != str(parent):
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(INTERVAL)
        os._exit(1)  # the checkpoint of the last epoch is complete

    threading.Thread(target=watch, daemon=True).start()
