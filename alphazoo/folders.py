"""Folders of results: each belongs to one process while it writes there."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import chain, count
from pathlib import Path

from filelock import FileLock, Timeout

from alphazoo.errors import InputError

LOCK = "run.lock"


def new_folder(name: str | Path) -> Path:
    """Make a folder of that name; where it is taken, with -1, -2, ... at its end."""
    path = Path(name)
    others = (path.with_name(f"{path.name}-{number}") for number in count(1))
    for folder in chain([path], others):
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError  # there is always another number


@contextmanager
def held(folder: Path, doing: str = "writes to it", *, new: bool = False) -> Iterator[None]:
    """Keep other processes from a folder, which is made if need be.

    A process may hold a folder several times; one that dies leaves it. A folder that was made for
    this and stays empty is removed.

    Args:
        folder: The folder.
        doing: What another process does that holds it, for the message.
        new: Whether it was made for this.

    Raises:
        InputError: Another process holds it.
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


@contextmanager
def results_folder(asked: str | None) -> Iterator[Path]:
    """The folder that a command writes to: the one asked for, else a new one named by the time.

    Raises:
        InputError: Another process writes to the one asked for.
    """
    name = Path(asked or f"runs/{datetime.now():%Y-%m-%d/%H-%M-%S}")
    made = [parent for parent in name.parents if not parent.exists()]
    folder = name if asked else new_folder(name)
    try:
        with held(folder, new=not asked):
            yield folder
    finally:
        if not folder.exists():
            _remove_empty(made)


def clear(folder: Path, names: Iterable[str]) -> None:
    """Delete files and folders of some names, where they are."""
    for name in names:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:  # another process has begun one beside it
            return
