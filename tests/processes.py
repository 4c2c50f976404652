"""Processes that need not import everything anew: forked from one that does nothing else.

The process of the tests itself must not fork: its threads may hold locks, for which a child waits
for ever.
"""

import multiprocessing
from collections.abc import Callable

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["alphazoo.commands.job", "pytest"])


def start(function: Callable[..., object], *arguments: object) -> multiprocessing.Process:
    """Call a function of a module in a process of its own."""
    process = CONTEXT.Process(target=function, args=arguments)
    process.start()
    return process  # type: ignore[return-value]


def finish(process: multiprocessing.Process, seconds: float = 120) -> int:
    """Wait for a process: its exit status, or the negative signal that ended it."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        raise AssertionError(f"no end within {seconds} seconds")
    return process.exitcode
