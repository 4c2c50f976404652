"""Checks of a config from a registry, which anybody with write access may have written.

A config names the objects to create, and may compute values: it can read environment variables and
create nodes from text. A config from elsewhere may only create and compute what some yaml file here
does.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from alphazoo.config import config_dir
from alphazoo.errors import InputError, shorten

PLAIN = re.compile(r"\$\{[\w.]+\}")  # refers to another key and computes nothing
TARGET = "_target_"

Said = tuple[tuple[str, ...], str]  # the parts of a key, and its unresolved value


def check_trusted(
    uri: str, fetched: DictConfig, used: DictConfig, own: Sequence[Path] = ()
) -> None:
    """Reject a config that could run arbitrary code or reveal data of this machine.

    Args:
        uri: Address of the config, for messages.
        fetched: The config as downloaded.
        used: The config as used; differences are the user's settings, which are trusted.
        own: The user's config folders, in addition to those of this package.

    Raises:
        InputError: The config creates or computes something that no yaml file does, or it is an
            ensemble.
    """
    if "ensemble" in fetched:
        raise InputError(f"{uri} is an ensemble, which refers to other folders: refused")
    said = {text for file in _yaml(config_dir(), *own) for text in _say(OmegaConf.load(file))}
    targets = {text for key, text in said if TARGET in key and "${" not in text}
    computed = {text for key, text in said if TARGET not in key}
    theirs = {*_say(fetched)} & {*_say(used)}
    unknown = {text for key, text in theirs if TARGET in key} - targets
    unknown |= {text for key, text in theirs if "${" in PLAIN.sub("", text)} - computed
    if unknown:
        raise InputError(
            f"the config of {uri} uses {shorten(sorted(unknown))}, which no yaml file of alphazoo "
            "or of a --config-dir contains: refused, because it could run arbitrary code"
        )


def _yaml(*folders: Path) -> list[Path]:
    """Find yaml files, except those of loggers, whose addresses must not be revealed."""
    files = (file for folder in folders for file in folder.rglob("*.yaml"))
    return [file for file in files if file.parent.name != "logger"]


def _say(config: Any) -> Iterator[Said]:
    def walk(node: Any, key: tuple[str, ...]) -> Iterator[Said]:
        if isinstance(node, dict):
            for name, child in node.items():
                yield from walk(child, (*key, str(name)))
        elif isinstance(node, list):
            for number, child in enumerate(node):
                yield from walk(child, (*key, str(number)))
        else:
            yield key, str(node)

    return walk(OmegaConf.to_container(config), ())
