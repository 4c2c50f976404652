"""Config groups, choices and keys, read from the yaml files in milliseconds.

Help and completion need them at once, while Hydra takes a second to compose a config. A test
compares the two.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from alphazoo.files import config_dir

ROOT = "train"
GLOBAL = "# @package _global_"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
OTHER = ("monitoring",)  # groups that alphazoo train does not have


def find_folders(words: Sequence[str]) -> list[Path]:
    """Return the folders with yaml files: that of ``--config-dir`` among words, and ours."""
    found = [Path(b) for a, b in pairwise(words) if a == "--config-dir"]
    found += [Path(x.partition("=")[2]) for x in words if x.startswith("--config-dir=")]
    return [*(folder for folder in found if folder.is_dir()), config_dir()]


def read_groups(folders: Sequence[Path]) -> dict[str, list[str]]:
    """Return the choices of each group of ``alphazoo train``."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for file in folder.glob("*/**/*.yaml"):
            group = file.parent.relative_to(folder).as_posix()
            if group not in OTHER:
                found.setdefault(group, set()).add(file.stem)
    return {group: sorted(found[group]) for group in sorted(found)}


def read_keys(words: Sequence[str]) -> dict[str, str]:
    """Return the keys of the config with their values, as the files have them.

    Args:
        words: Arguments; ``run=FOLDER`` gives the config of a run, and others choose from groups.
    """
    pairs = dict(word.split("=", 1) for word in words if "=" in word)
    saved = Path(pairs.get("run", "")) / "config.yaml"
    if "run" in pairs and saved.is_file():
        return dict(_flatten(_parse(saved.read_text(encoding="utf-8", errors="replace"))))
    files = _Files(find_folders(words), {key: x.partition(",")[0] for key, x in pairs.items()})
    return {
        key: value
        for package, content in files.walk()
        for key, value in _flatten({package: content} if package else content)
    }


class _Files:
    """The yaml files of a config, in the order of its defaults list."""

    def __init__(self, folders: Sequence[Path], chosen: Mapping[str, str]) -> None:
        self.folders = folders
        self.chosen = dict(chosen)

    def walk(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the content of the files with the key that it stands below."""
        content = self._read(ROOT)[0]
        defaults = {
            name: choice
            for entry in content.get("defaults", [])
            if isinstance(entry, dict)
            for name, choice in entry.items()
        }
        for group in ("sweep", "experiment"):  # they choose from other groups
            name = self.chosen.get(group) or defaults.get(group)
            for entry in self._read(f"{group}/{name}")[0].get("defaults", []):
                for key, choice in entry.items() if isinstance(entry, dict) else ():
                    if key.startswith("override /"):
                        defaults[key.removeprefix("override /")] = choice
        self.chosen = {**_by_group(defaults), **self.chosen}
        yield from self._walk(ROOT, "")

    def _walk(self, name: str, group: str) -> Iterator[tuple[str, dict[str, Any]]]:
        content, is_global = self._read(name)
        package = "" if is_global else group.replace("/", ".")
        own = {key: value for key, value in content.items() if key != "defaults"}
        for entry in content.get("defaults", []):
            if entry == "_self_":
                yield package, own
            elif isinstance(entry, str):
                yield from self._walk(f"{group}/{entry}", group)
            else:
                for key, choice in _by_group(entry).items():
                    yield from self._choose(f"{group}/{key}" if group else key, choice)
        if "_self_" not in content.get("defaults", []):
            yield package, own

    def _choose(self, group: str, default: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        choice = self.chosen.get(group, default)
        if choice == "${data}":
            choice = self.chosen.get("data")
        for name in choice if isinstance(choice, list) else str(choice).strip("[]").split(","):
            yield from self._walk(f"{group}/{name}", group)

    def _read(self, name: str) -> tuple[dict[str, Any], bool]:
        """Return the content of a file, empty if there is none, and whether it is at the root."""
        for folder in self.folders:
            file = folder / f"{name}.yaml"
            if file.is_file():
                text = file.read_text(encoding="utf-8", errors="replace")
                return _parse(text), text.startswith(GLOBAL)
        return {}, False


def _parse(text: str) -> dict[str, Any]:
    """Return the content of a yaml file; a damaged one is an error of commands, not of help."""
    try:
        content = yaml.load(text, LOADER)
    except yaml.YAMLError:
        return {}
    return content if isinstance(content, dict) else {}


def _by_group(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the choices of a defaults list without Hydra's words before the groups."""
    return {
        re.sub(r"^optional ", "", key): choice
        for key, choice in entry.items()
        if not key.startswith("override ")
    }


def _flatten(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in content.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{name}.")
        elif name not in ("_target_", "_partial_", "_recursive_"):
            shown = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
            yield f"{prefix}{name}", shown.removesuffix("\n...\n").strip()
