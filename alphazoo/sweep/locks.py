"""What two processes of a sweep must not share: its folder, and a GPU."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gethostname

from filelock import FileLock, Timeout
from omegaconf import DictConfig

from alphazoo.errors import InputError

HELD: list[FileLock] = []  # until the process ends


@contextmanager
def only_here(folder: Path) -> Iterator[None]:
    """Keep a second process from running the jobs of the same sweep.

    Raises:
        InputError: Another process runs them.
    """
    lock = FileLock(folder / ".lock")
    if not _free(lock):
        raise InputError(f"the sweep in {folder} is running in another process")
    try:
        yield
    finally:
        lock.release()


def take_gpu(config: DictConfig, folder: Path) -> None:
    """Show this process one GPU alone, that no other process of the sweep has on this machine.

    It stays that of the process, also for the jobs that follow. The config of a job says no number:
    its run may be opened where there is another GPU, or none.

    Args:
        config: Of a job; nothing is done where it asks for the CPU or for several devices.
        folder: Of the sweep.
    """
    import torch

    one = config.trainer.accelerator in ("auto", "gpu", "cuda") and config.trainer.devices == 1
    count = torch.cuda.device_count() if one and not torch.cuda.is_initialized() else 0
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = told.split(",") if told else [str(index) for index in range(count)]
    for name in names[:count] if count > 1 else ():
        lock = FileLock(folder / f".{gethostname()}-gpu-{name}.lock")
        if _free(lock):
            HELD.append(lock)
            os.environ["CUDA_VISIBLE_DEVICES"] = name
            return


def _free(lock: FileLock) -> bool:
    """Take a lock that nobody has."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True
