"""Memory between the steps of a process on a CPU, whose days differ in their number of stocks."""

import ctypes
import mmap
import os
import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch

# from malloc.h of the GNU C library
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
LARGE = 2**25  # bytes; the highest threshold that the library accepts

# operations that oneDNN keeps prepared; a training step of our models has fewer of them
PRIMITIVES = 64


class KeepFreedMemory(L.Callback):
    """Keeps freed memory for the next day, and what oneDNN prepared for the shapes of few days.

    By default, the allocator of the GNU C library returns the memory of one day to the system and
    requests new pages, which the system must clear, for the next day. This takes a fifth to two
    fifths of a step. Kept, memory grows instead: days of many sizes leave gaps between the blocks.

    In huge pages, new memory is cheap. `alphazoo` asks torch for them when it is imported
    (``THP_MEM_ALLOC_ENABLE=1``), and then only blocks below 32 MiB are kept. This halves the peak
    of an LSTM's training at the same speed. Torch listens until it creates its first tensor.

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
    """Keep freed memory in the process until it ends; large blocks only without huge pages."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    if has_huge_pages():
        mallopt(M_MMAP_THRESHOLD, LARGE)
    else:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TOP_PAD, 2**26)


def has_huge_pages() -> bool:
    """Whether torch asks for huge pages, in which case it aligns large tensors, and gets them."""
    aligned = torch.empty(2 * LARGE, dtype=torch.uint8).data_ptr() % mmap.PAGESIZE == 0
    return aligned and grants_huge_pages()


def grants_huge_pages() -> bool:
    """Whether the system gives huge pages to a process that asks for them."""
    return HUGE_PAGES.is_file() and "[never]" not in HUGE_PAGES.read_text(encoding="utf-8")


def keep_few_primitives() -> None:
    """Let oneDNN keep few prepared operations; it reads the variable when it is first used."""
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(PRIMITIVES))
