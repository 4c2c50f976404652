"""What a config from a registry may say: anybody who can write to the registry can have written it.

A config names what is made of it, and may compute values: read variables of the environment, and
make nodes of text. One from elsewhere makes and computes only what some yaml file here does.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from alphazoo.config import config_dir
from alphazoo.errors import InputError, shorten

PLAIN = re.compile(r"\$\{[\w.]+\}")  # names another key, and computes nothing
TARGET = "_target_"

Said = tuple[tuple[str, ...], str]  # a key, part by part, and its text before it is resolved


def check_trusted(
    uri: str, fetched: DictConfig, used: DictConfig, own: Sequence[Path] = ()
) -> None:
    """Refuse a config that could run anything, or tell what only this machine should know.

    Args:
        uri: Where it is from, for messages.
        fetched: As it is there.
        used: As it is used; what differs is said by the user, who may say anything.
        own: Folders of yaml files of the user, beside those of this package.

    Raises:
        InputError: It makes or computes something that no yaml file does, or it is an ensemble.
    """
    if "ensemble" in fetched:
        raise InputError(f"{uri} is an ensemble, whose runs are other folders: refused")
    said = {text for file in _yaml(config_dir(), *own) for text in _say(OmegaConf.load(file))}
    targets = {text for key, text in said if TARGET in key and "${" not in text}
    computed = {text for key, text in said if TARGET not in key}
    theirs = {*_say(fetched)} & {*_say(used)}
    unknown = {text for key, text in theirs if TARGET in key} - targets
    unknown |= {text for key, text in theirs if "${" in PLAIN.sub("", text)} - computed
    if unknown:
        raise InputError(
            f"the config of {uri} makes {shorten(sorted(unknown))}, which no yaml file of alphazoo "
            "or of a --config-dir names: refused, as it could run anything"
        )


def _yaml(*folders: Path) -> list[Path]:
    """Without those of trackers, whose addresses are of nobody else's concern."""
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
