"""What a setting means: the docstring of the argument that it becomes, and its comment."""

import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from hydra.utils import get_object

from _generate.comments import ConfigFile, Key, read_config
from alphazoo.config import config_dir

ROOT = config_dir()
ENTRY = re.compile(r"^    \**(\w+)(?: \([^)]*\))?: (.*)$")


def group_of(file: Path) -> str:
    """Return the config group of a yaml file, such as ``data/concepts``; empty for train.yaml."""
    return file.parent.relative_to(ROOT).as_posix().removeprefix(".")


def full_key(file: Path, key: Key) -> str:
    """Return a key as the command line takes it."""
    config = read_config(file)
    group = () if config.is_global else tuple(filter(None, group_of(file).split("/")))
    return ".".join((*group, *key.path))


def describe_key(file: Path, key: Key) -> str:
    """Return what a key means, in Markdown; empty if nothing says it."""
    comments = [same.comment for parent in lineage(file) for same in _same(parent, key)]
    comment = next(filter(None, comments), "")
    argument = _argument(file, key)
    if _repeats(comment, argument):
        comment = ""
    if comment.lower().startswith(argument.lower().rstrip(".")):  # says the same, and more
        argument = ""
    return "<br>".join(filter(None, (argument, comment))) or _describe_value(file, key)


def _repeats(comment: str, argument: str) -> bool:
    words, known = (set(re.findall(r"[a-z]{3,}", text.lower())) for text in (comment, argument))
    return len(words & known) > 0.7 * len(words)


def _describe_value(file: Path, key: Key) -> str:
    """What a key without any words of its own is: an object, an argument elsewhere, a part."""
    target = key.target or _target_around(file, key)
    if key.target.startswith("alphazoo."):
        return (inspect.getdoc(get_object(target)) or "").partition("\n")[0]
    if target:
        return f"`{target}`." if key.target else f"Argument of `{target}`."
    around = [other for other in read_config(file).keys if other.path == key.path[:-1]]
    if around and not around[0].target and describe_key(file, around[0]):
        return f"See `{full_key(file, around[0])}`."
    return ""


def lineage(file: Path) -> Iterator[Path]:
    """Yield a yaml file and those of its own group that it extends, nearest first."""
    yield file
    for entry in _defaults(read_config(file)):
        if isinstance(entry, str) and entry != "_self_":
            yield from lineage(file.with_name(f"{entry}.yaml"))


def nested_choices(file: Path) -> dict[str, str]:
    """Return the groups inside a file's own that its defaults choose: ``{"strategy": ...}``."""
    entries = [entry for parent in lineage(file) for entry in _defaults(read_config(parent))]
    pairs = [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]
    return {name: str(choice) for name, choice in pairs if " " not in name}


def _defaults(config: ConfigFile) -> list[Any]:
    found = config.content.get("defaults", [])
    return found if isinstance(found, list) else []


def _same(file: Path, key: Key) -> list[Key]:
    return [other for other in read_config(file).keys if other.path == key.path]


def _target_around(file: Path, key: Key) -> str:
    """The class or function that a key is an argument of."""
    for parent in lineage(file):
        content = read_config(parent).content
        for name in key.path[:-1]:
            inner = content.get(name)
            content = inner if isinstance(inner, dict) else {}
        if "_target_" in content:
            return str(content["_target_"])
    return ""


def _argument(file: Path, key: Key) -> str:
    """The documentation of the argument that a key is, or that is computed from it."""
    if target := _target_around(file, key):
        return explain_argument(target, key.path[-1])
    wanted = "${" + full_key(file, key) + "}"
    for target, name, value in _arguments(file):
        if value == wanted:
            return explain_argument(target, name)
    return ""


def _arguments(file: Path) -> Iterator[tuple[str, str, object]]:
    """Yield target, name and value of each argument in a file, and in that of a whole run."""

    def walk(node: object) -> Iterator[tuple[str, str, object]]:
        if isinstance(node, dict):
            target = node.get("_target_")
            for name, value in node.items():
                if isinstance(target, str):
                    yield target, name, value
                yield from walk(value)

    for source in (*lineage(file), ROOT / "train.yaml"):
        yield from walk(read_config(source).content)


@cache
def explain_argument(target: str, name: str) -> str:
    """Return the entry of an argument in a docstring of ours; empty for other libraries."""
    if not target.startswith("alphazoo."):
        return ""
    found = get_object(target)
    owners = found.__mro__ if inspect.isclass(found) else (found,)
    own = [owner for owner in owners if owner.__module__.startswith("alphazoo.")]
    docs = (read_arguments(inspect.getdoc(owner) or "").get(name) for owner in own)
    return next(filter(None, docs), "")


def read_arguments(docstring: str) -> dict[str, str]:
    """Return the arguments, or else attributes, of a Google-style docstring, each on one line."""
    _, _, section = docstring.partition("Args:\n" if "Args:\n" in docstring else "Attributes:\n")
    entries: dict[str, list[str]] = {}
    name = ""
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break
        if match := ENTRY.match(line):
            name = match[1]
            entries[name] = [match[2]]
        elif name:
            entries[name].append(line.strip())
    return {name: " ".join(" ".join(lines).split()) for name, lines in entries.items()}
