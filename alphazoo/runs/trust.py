"""Checks of the config of a run, which a stranger may have written.

A config names the objects to create, and may compute values: it can read environment variables and
create nodes from text. A config that was read from a folder or a registry may only create and
compute what some yaml file of this package or of the user does, or what a config that this process
trained with does.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from omegaconf import DictConfig, OmegaConf

from alphazoo.config import config_dir, parse
from alphazoo.errors import InputError, shorten

PLAIN = re.compile(r"\$\{[\w.]+\}")  # refers to another key and computes nothing
TARGET = "_target_"
LOGGER = "logger"  # a group whose addresses may hold passwords

Said = tuple[tuple[str, ...], str]  # the parts of a key, and its unresolved value

_trained: set[Said] = set()


def trust_config(config: DictConfig) -> None:
    """Trust what a config says in this process from now on: it is the user's own.

    A run that was trained with it can then be opened.
    """
    _trained.update(_notable(_say(config)))


def check_trusted(
    source: str,
    found: DictConfig,
    used: DictConfig,
    overrides: Sequence[str] = (),
    own: Sequence[Path] = (),
) -> None:
    """Reject a config that could run arbitrary code or reveal data of this machine.

    Args:
        source: Where the config comes from, for messages.
        found: The config as found there.
        used: The config as used, after the overrides.
        overrides: The user's settings, which are trusted.
        own: The user's config folders, in addition to that of this package.

    Raises:
        InputError: The config creates or computes something that no yaml file does.
    """
    theirs = {*_notable(_say(found))} & {*_say(used)}
    known = _trained.union(_yaml(config_dir()), *map(_read_yaml, own))
    unknown = {text for key, text in theirs - _settings(overrides) if not _known(key, text, known)}
    if unknown:
        raise InputError(
            f"the config of {source} uses {shorten(sorted(unknown))}, which no yaml file of "
            "alphazoo or of a --config-dir contains: refused, because it could run arbitrary code; "
            "with trust=true, the command opens it anyway"
        )


def _notable(said: Iterator[Said]) -> Iterator[Said]:
    """Leave out values that neither create nor compute anything."""
    return ((key, text) for key, text in said if TARGET in key or "${" in PLAIN.sub("", text))


def _known(key: tuple[str, ...], text: str, known: Collection[Said]) -> bool:
    """Return whether what is known creates or computes the same.

    A value of a logger may be computed only in its own place, so that its address, which may hold a
    password, is not sent elsewhere.
    """
    places = {place for place, value in known if value == text}
    if TARGET in key:
        return "${" not in text and any(TARGET in place for place in places)
    return any(place == key if LOGGER in place else TARGET not in place for place in places)


@cache
def _yaml(folder: Path) -> frozenset[Said]:
    return frozenset(_read_yaml(folder))


def _read_yaml(folder: Path) -> Iterator[Said]:
    """Yield what the yaml files of a folder create and compute."""
    for file in folder.rglob("*.yaml"):
        prefix = (LOGGER,) if file.parent.name == LOGGER else ()
        try:
            content = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
        yield from _notable(_walk(content, prefix))


def _settings(overrides: Sequence[str]) -> set[Said]:
    """Return what overrides say."""
    given = OmegaConf.create()
    for override in parse(overrides):
        OmegaConf.update(given, override.key_or_group, override.value(), force_add=True)
    return {*_say(given)}


def _say(config: DictConfig) -> Iterator[Said]:
    return _walk(OmegaConf.to_container(config), ())


def _walk(node: Any, key: tuple[str, ...]) -> Iterator[Said]:
    if isinstance(node, dict):
        for name, child in node.items():
            yield from _walk(child, (*key, str(name)))
    elif isinstance(node, list):
        for number, child in enumerate(node):
            yield from _walk(child, (*key, str(number)))
    else:
        yield key, str(node)
