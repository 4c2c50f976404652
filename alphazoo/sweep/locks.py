"""Locks of a sweep: its folder, and one GPU per process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gethostname

from filelock import FileLock, Timeout
from omegaconf import DictConfig

from alphazoo.errors import InputError

HELD: list[FileLock] = []  # locks that are held until the process ends


@contextmanager
def locked_sweep(folder: Path) -> Iterator[None]:
    """Lock the folder of a sweep, so that only one process runs its jobs.

    Raises:
        InputError: Another process runs them.
    """
    lock = FileLock(folder / ".lock")
    if not _acquire(lock):
        raise InputError(f"the sweep in {folder} is running in another process")
    try:
        yield
    finally:
        lock.release()


def claim_gpu(config: DictConfig, folder: Path) -> None:
    """Restrict this process to one GPU that no other process of the sweep uses on this machine.

    The process keeps the GPU for later jobs. The GPU is chosen by an environment variable and not
    in the config, so that the run can be opened on another machine.

    Args:
        config: Config of a job; on the CPU or with several devices, nothing is done.
        folder: Folder of the sweep.
    """
    import torch

    one = config.trainer.accelerator in ("auto", "gpu", "cuda") and config.trainer.devices == 1
    count = torch.cuda.device_count() if one and not torch.cuda.is_initialized() else 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(index) for index in range(count)]
    for name in names[:count] if count > 1 else ():
        lock = FileLock(folder / f".{gethostname()}-gpu-{name}.lock")
        if _acquire(lock):
            HELD.append(lock)
            os.environ["CUDA_VISIBLE_DEVICES"] = name
            return


def _acquire(lock: FileLock) -> bool:
    """Acquire a lock without waiting; return whether it was free."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True
