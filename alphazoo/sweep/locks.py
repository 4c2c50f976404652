"""What two processes of a sweep must not share: its folder, and a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gethostname

from filelock import FileLock, Timeout
from omegaconf import DictConfig

from alphazoo.errors import InputError


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


@contextmanager
def own_device(config: DictConfig, folder: Path) -> Iterator[None]:
    """Choose a GPU that no other job of the sweep uses on this machine; the first if there is none.

    Args:
        config: Of the job; ``trainer.devices`` is changed where it asks for any one GPU.
        folder: Of the sweep.
    """
    import torch

    one = config.trainer.accelerator in ("auto", "gpu", "cuda") and config.trainer.devices == 1
    n_devices = torch.cuda.device_count() if one else 0
    locks = [FileLock(folder / f".{gethostname()}-gpu-{index}.lock") for index in range(n_devices)]
    taken = next((index for index, lock in enumerate(locks) if _free(lock)), None)
    try:
        if taken is not None:
            config.trainer.devices = [taken]
        yield
    finally:
        if taken is not None:
            locks[taken].release()


def _free(lock: FileLock) -> bool:
    """Take a lock that nobody has."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True
