"""Reads the files of a run; each is damaged or has another shape until it is checked."""

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, NotRequired, Required, TypeVar

import pandas as pd
import yaml  # type: ignore[import-untyped]
from omegaconf import DictConfig, OmegaConf
from pandas.api.types import (
    infer_dtype,
    is_bool_dtype,
    is_datetime64_dtype,
    is_numeric_dtype,
)
from pydantic import StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from alphazoo.errors import InputError, shorten

Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$")]

NODES = ("data", "features", "scaler", "label", "model", "datamodule", "trainer")
LARGEST = 1_000_000  # bytes of a config; more would take minutes to read

T = TypeVar("T")

KINDS: dict[str, Callable[[Any], bool]] = {
    "date": lambda column: is_datetime64_dtype(column) and not column.hasnans,
    "number": lambda column: is_numeric_dtype(column) and not is_bool_dtype(column),
    "text": lambda column: not len(column) or infer_dtype(column, skipna=False) == "string",
}


class Members(TypedDict):
    """The node ``ensemble`` of a config; earlier versions did not record the models."""

    by: str
    runs: list[str]
    models: NotRequired[list[str]]


class Data(TypedDict, total=False):
    """The data of a run; earlier versions recorded less, see `alphazoo.market.fingerprint`."""

    market: Required[str]
    fingerprint: Required[str]
    first: Required[Day]
    last: Required[Day]
    days: int
    stocks: int
    concepts: str | None
    parts: dict[str, str]
    months: dict[str, Any]


class Git(TypedDict):
    """The commit of a run."""

    commit: str
    changed: bool


class Provenance(TypedDict, total=False):
    """The provenance of a run, see `alphazoo.runs.provenance`."""

    data: Data
    settings: str
    git: Git | None
    packages: dict[str, str]
    machine: dict[str, str | int | None]
    resources: dict[str, float | None]


def read_config(file: Path) -> DictConfig:
    """Read the config of a run.

    Aliases are refused, which no config of a run has: a few lines of them can stand for any number
    of values.

    Raises:
        InputError: The file does not exist, is damaged, too large, or is not the config of a run.
    """

    def parse(text: str) -> DictConfig:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f"line {event.start_mark.line + 1} holds an alias")
        config = OmegaConf.create(text)
        if not isinstance(config, DictConfig) or "datamodule" not in config:
            raise InputError(f"{file} is not the config of a run")
        _check_nodes(file, config)
        return config

    if file.is_file() and file.stat().st_size > LARGEST:
        raise InputError(f"{file} has {file.stat().st_size:,} bytes: it is not the config of a run")
    return _read(file, lambda: parse(file.read_text(encoding="utf-8")))


def _check_nodes(file: Path, config: DictConfig) -> None:
    """Raise an `InputError` unless the nodes that every command uses are nodes."""
    plain: Any = OmegaConf.to_container(config)
    for name in NODES:
        if not isinstance(plain.get(name), dict):
            raise InputError(f"{file} is damaged: {name} must be a node, got {plain.get(name)!r}")
    if not isinstance(plain["model"].get("_target_"), str):
        raise InputError(f"{file} is damaged: model._target_ must be text")
    if "seed" not in plain:
        raise InputError(f"{file} is damaged: it has no seed")
    if "ensemble" in plain:
        check_shape(file, Members, plain["ensemble"])


def read_json(file: Path, shape: type[T]) -> T:
    """Read a JSON file.

    Args:
        file: The file.
        shape: Type of its content, whose types are taken strictly.

    Raises:
        InputError: The file does not exist, is damaged or has another shape.
    """
    return check_shape(file, shape, _read(file, lambda: json.loads(file.read_text("utf-8"))))


def read_rows(file: Path, columns: Collection[str], numbers: Collection[str] = ()) -> pd.DataFrame:
    """Read a Parquet table of a run, with its checksums.

    Args:
        file: The file.
        columns: Columns that the table must have. ``date`` must hold dates, all others that are not
            in ``numbers`` must hold text.
        numbers: Columns that must hold numbers.

    Raises:
        InputError: The file does not exist, is damaged, or lacks a column.
    """
    table = _read(file, lambda: pd.read_parquet(file, page_checksum_verification=True))
    _check_columns(file, table, [*columns, *numbers])
    for name in (*columns, *numbers):
        kind = "date" if name == "date" else "number" if name in numbers else "text"
        if not KINDS[kind](table[name]):
            raise InputError(f"{file} is damaged: column {name} must hold {kind}s")
    return table


def read_log(file: Path) -> pd.DataFrame:
    """Read ``logs/metrics.csv`` as text, so that every number can be written back unchanged.

    Raises:
        InputError: The file does not exist, is damaged, or lacks a column.
    """
    table = _read(file, lambda: pd.read_csv(file, dtype=str, encoding="utf-8"))
    _check_columns(file, table, ["epoch", "step"])
    for name in table:
        values = pd.to_numeric(table[name], errors="coerce")
        known = values.notna() | table[name].isna()
        if name in ("epoch", "step"):
            known = (values == values.round()) & (values.abs() < 2**53)
        if not known.all():
            raise InputError(f"{file} is damaged: column {name} must hold numbers")
    return table


def check_shape(file: Path, shape: type[T], content: Any) -> T:
    """Return the content of a file unchanged; raise an `InputError` if it has another shape."""
    try:
        TypeAdapter(shape).validate_python(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        fault = f"{place}: {first['msg']}" if place else first["msg"]
        raise InputError(f"{file} is damaged: {fault}") from error
    checked: T = content
    return checked


def _check_columns(file: Path, table: pd.DataFrame, columns: Collection[str]) -> None:
    missing = [name for name in columns if name not in table or table.columns.has_duplicates]
    if missing:
        raise InputError(f"{file} is damaged: it lacks the columns {shorten(missing)}")


def _read(file: Path, read: Callable[[], T]) -> T:
    """Return what a function reads from a file; its errors become one `InputError`."""
    if not file.is_file():
        raise InputError(f"{file.parent} has no {file.name}: did the run end?")
    try:
        return read()
    except InputError:
        raise
    except Exception as error:  # a damaged file may raise anything
        said = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{file} is damaged: {said:.200}") from error
