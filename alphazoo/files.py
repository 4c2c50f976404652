"""Files: written whole or not at all, and read without running what is in them."""

import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphazoo.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


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


def load_tensors(path: str | Path) -> Any:
    """Read what `torch.save` wrote, tensors and plain values alone, into the memory of the CPU.

    Raises:
        InputError: There is no such file, or something else is in it.
    """
    import torch

    file = Path(path).expanduser()
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
