"""SIGTERM and Ctrl+C end a command like an error, so that it can say how to go on."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from alphazoo.errors import StoppedError

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise a `StoppedError` on SIGTERM and Ctrl+C; in the main thread, which alone gets them.

    Lightning leaves a training on Ctrl+C by itself and ends one on SIGTERM without a word; both
    call the handlers of this context instead.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    raise StoppedError(number)
