"""Files: written whole or not at all, and read without running what is in them."""

import json
import math
import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphazoo.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

# what tables of pandas 1.5 to 3 are made of, by module
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


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Write a file beside its place and move it there when it is whole."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        yield beside
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def write_table(table: "pd.DataFrame", file: Path) -> None:
    """Write a table as Parquet or CSV, as the name of the file says; its folder is made.

    Raises:
        InputError: The name has another ending.
    """
    if file.suffix not in (".parquet", ".csv"):
        raise InputError(f"tables are .parquet or .csv files, got {file}")
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as beside:
        if file.suffix == ".csv":
            table.to_csv(beside, index=False)
        else:
            table.to_parquet(beside, index=False)


def write_json(file: Path, content: Any) -> None:
    """Write plain values; a number that is not finite is null."""
    with replacing(file) as beside:
        beside.write_text(json.dumps(_finite(content), indent=2, allow_nan=False) + "\n")


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def load_tensors(path: str | Path) -> Any:
    """Read what `torch.save` wrote, tensors and plain values alone, into the memory of the CPU.

    Raises:
        InputError: There is no such file, or something else is in it.
    """
    import torch

    file = Path(str(path)).expanduser()  # Hydra makes a number of a name of digits
    if not file.is_file():
        raise InputError(f"no file {file}")
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise InputError(
            f"{file} is damaged, or holds other things than tensors, which are not loaded because "
            "that could run what is in them"
        ) from error


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of a model of this package.

    Raises:
        InputError: There is no such file, or something else is in it.
    """
    checkpoint = load_tensors(path)
    if not isinstance(checkpoint, Mapping) or "alphazoo" not in checkpoint:
        raise InputError(f"{path} is not a checkpoint of alphazoo")
    return dict(checkpoint)


def load_table(path: str | Path) -> Any:
    """Read a pickled pandas table; a pickle that names anything else is refused unrun.

    Raises:
        InputError: There is no such file, it is damaged, or something else is in it.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(f"no file {file}")
    try:
        with file.open("rb") as stream:
            return _TableUnpickler(stream).load()
    except Exception as error:  # a damaged pickle may raise anything
        raise InputError(f"{file} is no pickled table: {error or type(error).__name__}") from error


class _TableUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in TABLE_PARTS.get(module, ()):
            raise pickle.UnpicklingError(
                f"it holds {module}.{name}, which is not loaded as that could run what is in it"
            )
        if name == "ndarray":  # only named, for _reconstruct; called, it makes arrays of any memory
            return None
        if name == "_reconstruct":
            return _empty_array
        return super().find_class(module, name)


def _empty_array(*_: Any) -> Any:
    import numpy as np

    return np.empty(0, dtype="b")
