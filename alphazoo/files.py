"""Write files atomically, read them without executing their content, and find the yaml files."""

import json
import math
import os
import pickle
import re
import secrets
import shutil
import socket
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphazoo.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

# types that pickled tables of pandas 1.5 to 3 consist of, by module
TABLE_PARTS = {
    "builtins": ("bytearray", "slice"),
    "numpy": ("dtype", "ndarray"),
    "numpy.core.multiarray": ("_reconstruct",),
    "numpy._core.multiarray": ("_reconstruct",),
    "numpy.core.numeric": ("_frombuffer",),
    "numpy._core.numeric": ("_frombuffer",),
    "pandas": (
        "DataFrame",
        "DatetimeIndex",
        "Index",
        "MultiIndex",
        "RangeIndex",
        "Series",
        "StringDtype",
    ),
    "pandas.arrays": ("ArrowStringArray", "DatetimeArray"),
    "pandas._libs.arrays": ("__pyx_unpickle_NDArrayBacked",),
    "pandas._libs.internals": ("_unpickle_block",),
    "pandas.core.arrays.datetimes": ("DatetimeArray",),
    "pandas.core.frame": ("DataFrame",),
    "pandas.core.indexes.base": ("Index", "_new_Index"),
    "pandas.core.indexes.datetimes": ("DatetimeIndex", "_new_DatetimeIndex"),
    "pandas.core.indexes.multi": ("MultiIndex",),
    "pandas.core.indexes.range": ("RangeIndex",),
    "pandas.core.internals.managers": ("BlockManager", "SingleBlockManager"),
    "pandas.core.series": ("Series",),
    "pyarrow.lib": ("_restore_array", "py_buffer", "type_for_alias"),
}


def config_dir() -> Path:
    """Return the folder of the yaml files, in an installed wheel or at the root of a checkout."""
    package = Path(__file__).parent
    inside, beside = package / "configs", package.parent / "configs"
    return inside if inside.is_dir() else beside


@contextmanager
def write_atomically(file: Path) -> Iterator[Path]:
    """Yield a temporary path, and move the file written there to its place when it is complete.

    The content reaches the disk before the move, so that a crash leaves either the old file or the
    new one. The temporary name cannot be guessed, so that nobody can plant a link there. Temporary
    files that killed processes of this machine left beside the file are removed.
    """
    place = f"{os.getpid()}@{socket.gethostname()}"
    _remove_orphans(file)
    temporary = file.with_name(f".{file.name}.{place}.{secrets.token_hex(4)}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(file)
        _flush(file.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Flush a file or folder to the disk."""
    if path.is_dir() and os.name != "posix":  # other systems cannot open folders
        return
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _remove_orphans(file: Path) -> None:
    """Remove temporary files of processes that have ended."""
    name = re.compile(rf"\.{re.escape(file.name)}\.(\d+)@{re.escape(socket.gethostname())}\.\w+")
    for path in file.parent.iterdir():
        match = name.fullmatch(path.name)
        if match and not _is_alive(int(match[1])):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # elsewhere signal 0 would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it belongs to another user
        return True
    return True


def new_folder(name: str | Path) -> Path:
    """Create a folder; if the name is taken, append -1, -2, ..."""
    path = Path(name)
    others = (path.with_name(f"{path.name}-{number}") for number in count(1))
    for folder in chain([path], others):
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError  # unreachable: count() never ends


@contextmanager
def replace_folder(out: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes ``out`` when it is complete; nothing is left otherwise."""
    out.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(4)
    new, old = (out.with_name(f".{out.name}.{name}.{mark}") for name in ("new", "old"))
    new.mkdir()
    try:
        yield new
        if out.exists():
            out.rename(old)
        new.rename(out)
    finally:
        for folder in (new, old):
            shutil.rmtree(folder, ignore_errors=True)


def write_table(table: "pd.DataFrame", file: Path) -> None:
    """Write a table as Parquet or CSV, by the suffix of the file; create its folder.

    Raises:
        InputError: The file has another suffix.
    """
    if file.suffix not in (".parquet", ".csv"):
        raise InputError(f"tables are .parquet or .csv files, got {file}")
    file.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(file) as temporary:
        if file.suffix == ".csv":
            table.to_csv(temporary, index=False)
        else:
            table.to_parquet(temporary, index=False, write_page_checksum=True)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file; the target is replaced when the copy is complete."""
    with write_atomically(target) as temporary:
        shutil.copyfile(source, temporary)


def write_text(file: Path, text: str) -> None:
    """Write a text as UTF-8, with the line ends that it has."""
    with write_atomically(file) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(file: Path, content: Any) -> None:
    """Write plain values as JSON; numbers that are not finite become null."""
    write_text(file, json.dumps(plain(content), indent=2, allow_nan=False) + "\n")


def plain(content: Any) -> Any:
    """Return plain values for JSON: numbers that are not finite become None."""
    if isinstance(content, Mapping):
        return {name: plain(value) for name, value in content.items()}
    if isinstance(content, list):
        return [plain(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def load_tensors(path: str | Path) -> Any:
    """Load a file of `torch.save` onto the CPU; it may hold only tensors and plain values.

    Raises:
        InputError: The file does not exist, is damaged or holds other types.
    """
    import torch

    file = Path(str(path)).expanduser()  # Hydra parses a name of digits as a number
    if not file.is_file():
        raise InputError(f"no file {file}")
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as parts:
                damaged = parts.testzip()
            if damaged:
                raise ValueError(f"the checksum of {damaged} is wrong")
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise anything
        raise InputError(
            f"{file} is damaged, or holds types other than tensors and plain values, which are not "
            "loaded because they could execute code"
        ) from error


def load_table(path: str | Path) -> Any:
    """Read a pickled pandas table; other types in the pickle are refused before they are loaded.

    Raises:
        InputError: The file does not exist, is damaged or holds other types.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(f"no file {file}")
    try:
        with file.open("rb") as stream:
            return _TableUnpickler(stream).load()
    except Exception as error:  # a damaged pickle may raise anything
        raise InputError(
            f"{file} is not a pickled table: {error or type(error).__name__}"
        ) from error


class _TableUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in TABLE_PARTS.get(module, ()):
            raise pickle.UnpicklingError(
                f"it holds {module}.{name}, which is not loaded because it could execute code"
            )
        if name == "ndarray":  # only an argument of _reconstruct; a call could allocate any memory
            return None
        if name == "_reconstruct":
            return _empty_array
        return super().find_class(module, name)


def _empty_array(*_: Any) -> Any:
    import numpy as np

    return np.empty(0, dtype="b")
