"""Freed memory stays with the process: every day has another size, and fresh pages are slow."""

import ctypes
import sys
from typing import Any

import lightning as L

# of malloc.h of the GNU C library
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


class KeepFreedMemory(L.Callback):
    """Tells the C library not to give freed memory back to the system while a CPU trains.

    The tensors of a step are as large as the day has stocks, so that the allocator returns those of
    a day and asks for new pages, which the system has to clear, on the next: a fifth to two fifths
    of a step on a CPU. Without the GNU C library, or with memory of a GPU, it does nothing.
    """

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        """Once is enough."""
        if trainer.strategy.root_device.type == "cpu":
            keep_freed_memory()


def keep_freed_memory() -> None:
    """From now on freed memory stays with the process, until it ends."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 2**26)
