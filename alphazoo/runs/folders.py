"""Folders of results; a lock lets only one process at a time write to a folder."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from alphazoo.errors import InputError
from alphazoo.files import new_folder

LOCK = "run.lock"


@contextmanager
def locked(folder: Path, doing: str = "writes to it", *, new: bool = False) -> Iterator[None]:
    """Lock a folder against other processes; create it if it does not exist.

    A process may lock the same folder several times; the lock of a killed process is released. A
    new folder that is still empty at the end is removed.

    Args:
        folder: The folder.
        doing: What a process that holds the lock does, for the error message.
        new: Whether the folder was created just before this call.

    Raises:
        InputError: Another process holds the lock.
    """
    made = [folder] if new else [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.resolve() / LOCK, timeout=0, is_singleton=True)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(f"{folder} is in use: another process {doing}") from error
    try:
        yield
    finally:
        if made and {file.name for file in folder.iterdir()} == {LOCK}:
            (folder / LOCK).unlink()
            _remove_empty(made)
        lock.release()


def is_locked(folder: Path) -> bool:
    """Return whether another process holds the lock of a folder."""
    lock = FileLock(folder.resolve() / LOCK, timeout=0, is_singleton=True)
    if lock.is_locked or not (folder / LOCK).exists():  # this process holds it, or nobody
        return False
    try:
        lock.acquire()
    except Timeout:
        return True
    lock.release()
    return False


@contextmanager
def results_folder(name: str | None) -> Iterator[Path]:
    """Lock the folder that a command writes to; by default a new one, named by the time.

    Raises:
        InputError: Another process writes to the folder.
    """
    path = Path(name or f"runs/{datetime.now():%Y-%m-%d/%H-%M-%S}")
    created = [parent for parent in path.parents if not parent.exists()]
    folder = path if name else new_folder(path)
    try:
        with locked(folder, new=not name):
            yield folder
    finally:
        if not folder.exists():
            _remove_empty(created)


def refuse_run_folder(folder: Path, unless: str = "") -> None:
    """Refuse to write into the folder of a run.

    Args:
        folder: Folder that a command is about to write to.
        unless: Key of the config that marks runs which may be replaced.

    Raises:
        InputError: The folder holds a run.
    """
    from alphazoo.runs.read import read_config  # slow to import, and the commands import this file

    file = folder / "config.yaml"
    if file.is_file() and (not unless or unless not in read_config(file)):
        raise InputError(
            f"{folder} is the folder of a run, whose results would be overwritten: choose another "
            "folder as out"
        )


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Delete the named files and subfolders of a folder; names that do not exist are skipped."""
    for name in names:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:  # not empty: another process uses it
            return
