"""The keys of a yaml file with what its comments say about them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

GLOBAL = "# @package _global_"
SPECIAL = ("defaults", "_target_", "_partial_", "_recursive_")  # of Hydra


@dataclass(frozen=True)
class Key:
    """A key of a yaml file.

    Attributes:
        path: Its names, from the root of the file.
        value: What the file says, as text on one line.
        comment: Beside the key and in the lines above it, on one line.
        target: The class or function that makes the value, if it is an object.
    """

    path: tuple[str, ...]
    value: str
    comment: str
    target: str


@dataclass(frozen=True)
class ConfigFile:
    """A yaml file of a config group.

    Attributes:
        header: The comment at its top, without Hydra's directive.
        keys: All but those of Hydra, in the order of the file.
        content: What the file holds.
        is_global: Whether its keys start at the root of the config.
        text: The whole file.
    """

    header: str
    keys: list[Key]
    content: dict[str, object]
    is_global: bool
    text: str


@cache
def read_config(file: Path) -> ConfigFile:
    """Read a yaml file with its comments."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    top = _comment_above(lines, next((i for i, x in enumerate(lines) if not _is_comment(x)), 0))
    root = yaml.compose(text)
    keys = [*_walk(root, (), lines)] if isinstance(root, yaml.MappingNode) else []
    content = yaml.safe_load(text) or {}
    return ConfigFile(top, keys, content, text.startswith(GLOBAL), text)


def _walk(node: yaml.MappingNode, path: tuple[str, ...], lines: list[str]) -> Iterator[Key]:
    for name, value in node.value:
        if name.value in SPECIAL or (not path and name.value == "hydra"):
            continue
        here = (*path, name.value)
        line = name.start_mark.line
        above = _comment_above(lines, line) if _has_code_above(lines, line) else ""
        nested = isinstance(value, yaml.MappingNode) and value.value and not value.flow_style
        end = name.end_mark if nested else value.end_mark
        beside = "" if end.line >= len(lines) else lines[end.line][end.column :].partition("#")[2]
        yield Key(here, _write(value), f"{above} {beside.strip()}".strip(), _target(value))
        if nested:
            yield from _walk(value, here, lines)


def _write(node: yaml.Node) -> str:
    """Write a value on one line; objects in a list by the names of their classes."""
    if isinstance(node, yaml.ScalarNode):
        return node.value or '""'
    if isinstance(node, yaml.SequenceNode):
        return f"[{', '.join(map(_write, node.value))}]"
    if target := _target(node):
        return target.rpartition(".")[2]
    pairs = {name.value: value for name, value in node.value}
    return f"{{{', '.join(f'{name}: {_write(value)}' for name, value in pairs.items())}}}"


def _target(node: yaml.Node) -> str:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value.value for name, value in pairs if name.value == "_target_"), "")


def _comment_above(lines: list[str], line: int) -> str:
    found: list[str] = []
    while line and _is_comment(lines[line - 1]):
        line -= 1
        if not lines[line].startswith("# @"):
            found.insert(0, lines[line].strip().removeprefix("#").strip())
    return " ".join(found)


def _has_code_above(lines: list[str], line: int) -> bool:
    """Whether a comment above belongs to the key, and not to the file."""
    return any(x.strip() and not _is_comment(x) for x in lines[:line])


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")
