"""The configuration reference: a page for each config group, made from its yaml files."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from _generate.comments import Key, read_config
from _generate.markdown import code, from_docstring, table, toctree
from _generate.meanings import (
    ROOT,
    describe_key,
    full_key,
    group_of,
    lineage,
    nested_choices,
)
from alphazoo.config import DERIVED_KEYS

LITERAL = ("experiment", "sweep")  # their files set keys that are documented elsewhere


def groups() -> dict[str, list[Path]]:
    """Return the yaml files of each config group, in the order of their names."""
    found: dict[str, list[Path]] = {}
    for file in sorted(ROOT.rglob("*.yaml")):
        found.setdefault(group_of(file), []).append(file)
    return found


def own_keys(file: Path) -> list[Key]:
    """Return the keys that a user may set: not those that repeat another key."""
    return [key for key in read_config(file).keys if not _repeats_a_key(file, key)]


def _repeats_a_key(file: Path, key: Key) -> bool:
    name = full_key(file, key)
    if name in DERIVED_KEYS or name.startswith(tuple(f"{own}." for own in DERIVED_KEYS)):
        return True
    return key.value == "${" + f"{group_of(file)}.{key.path[-1]}" + "}"


def pages() -> Mapping[str, str]:
    """Return the text of each page by its name."""
    found = groups()
    top = sorted({name.partition("/")[0] for name in found if name})
    written = {name: _group_page(name, found) for name in top}
    index = [
        "# Configuration reference",
        "Every setting of `alphazoo train` is listed here, from the yaml files in `configs/`. On "
        "the command line, `GROUP=CHOICE` chooses a file of a group, and `KEY=VALUE` sets a key: "
        "`alphazoo train model=gats model.heads=4`. `alphazoo train --help` prints the same keys.",
        "## Settings of a run",
        _settings(ROOT / "train.yaml"),
        "## Config groups",
        table(("group", "default", "choices"), _overview(found)),
        toctree(f"{name} <{name}>" for name in top),
    ]
    return {**written, "index": "\n\n".join(index)}


def _overview(found: Mapping[str, list[Path]]) -> Iterable[tuple[str, str, str]]:
    chosen = nested_choices(ROOT / "train.yaml")
    chosen["backtest"] = "as `data`"
    for name, files in found.items():
        if name:
            page = name.partition("/")[0]
            default = chosen.get(name, "")
            choices = ", ".join(code(file.stem) for file in files)
            yield f"[`{name}`]({page}.md)", default.replace("None", "none"), choices


def _group_page(top: str, found: Mapping[str, list[Path]]) -> str:
    parts = [f"# {top}"]
    for name, files in found.items():
        if name.partition("/")[0] != top:
            continue
        if name != top:
            parts.append(f"## {name}")
        for file in files:
            parts += _choice(file, "##" if name == top else "###")
    return "\n\n".join(parts)


def _choice(file: Path, level: str) -> Iterable[str]:
    group, config = group_of(file), read_config(file)
    yield f"{level} {group}={file.stem}"
    if config.header and group not in LITERAL:
        yield from_docstring(config.header)
    if group == "model":
        yield f"The settings are on the [model card](../models/{file.stem}.md)."
        return
    if group in LITERAL:
        yield f"```yaml\n{config.text}```"
        return
    extended = [code(parent.stem) for parent in lineage(file) if parent != file]
    if extended:
        yield f"All other settings are those of {', '.join(extended)}."
    nested = {name: choice for name, choice in nested_choices(file).items() if "@" not in name}
    if nested:
        chosen = (f"{code(f'{group}/{name}={choice}')}" for name, choice in nested.items())
        yield f"It chooses {', '.join(chosen)}."
    if own_keys(file):
        yield _settings(file)


def _settings(file: Path) -> str:
    rows = (
        (code(full_key(file, key)), code(key.value), _meaning(file, key)) for key in own_keys(file)
    )
    return table(("key", "value", "meaning"), rows)


def _meaning(file: Path, key: Key) -> str:
    return "<br>".join(map(from_docstring, describe_key(file, key).split("<br>")))
