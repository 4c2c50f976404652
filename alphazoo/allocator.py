"""Memory between the steps of a process on a CPU, whose days differ in their number of stocks."""

import ctypes
import os
import sys
from typing import Any

import lightning as L

# from malloc.h of the GNU C library
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4

# operations that oneDNN keeps prepared; a training step of our models has fewer of them
PRIMITIVES = 64


class KeepFreedMemory(L.Callback):
    """Keeps freed memory for the next day, and what oneDNN prepared for the shapes of few days.

    By default, the allocator of the GNU C library returns the memory of one day to the system and
    requests new pages, which the system must clear, for the next day. This takes a fifth to two
    fifths of a step.

    oneDNN, which computes convolutions, and products in bfloat16, prepares each operation for a
    shape and keeps the last 1,024 of them. Each number of stocks is another shape, so memory grows
    over hundreds of days, by a third for TCN. Here, it keeps those of a day or two.

    The callback has no effect on a GPU; without the GNU C library, it only restrains oneDNN, and
    that only if the process has not used it yet. A value of the user's own in
    ``ONEDNN_PRIMITIVE_CACHE_CAPACITY`` stays.
    """

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        """Set the options, once per process."""
        if trainer.strategy.root_device.type == "cpu":
            keep_freed_memory()
            keep_few_primitives()


def keep_freed_memory() -> None:
    """Keep freed memory in the process until it ends."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 2**26)


def keep_few_primitives() -> None:
    """Let oneDNN keep few prepared operations; it reads the variable when it is first used."""
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(PRIMITIVES))
