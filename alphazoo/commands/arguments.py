"""Parse the arguments of a command: its own, and overrides of the config."""

import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from alphazoo.errors import InputError


def split_arguments(arguments: list[str], *names: str) -> tuple[dict[str, str], list[str]]:
    """Split arguments into the command's own values by name, and all others."""
    pairs = [argument.split("=", 1) for argument in arguments]
    own = {pair[0]: pair[-1] for pair in pairs if pair[0] in names}
    return own, [a for a, pair in zip(arguments, pairs, strict=True) if pair[0] not in names]


def flags_as_keys(arguments: list[str], *names: str) -> list[str]:
    """Rewrite ``--name value`` and ``--name=value`` to ``name=value``."""
    found: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, _, value = argument.removeprefix("--").partition("=")
        if argument.startswith("--") and name in names:
            argument = f"{name}={value or next(rest, '')}"
        found.append(argument)
    return found


def truth(own: dict[str, str], name: str) -> bool:
    """Return a value of a command that is true or false; by default false.

    Raises:
        InputError: It is something else.
    """
    told = own.get(name, "false").lower()
    if told not in ("true", "false"):
        raise InputError(f"{name}={own[name]}: expected true or false")
    return told == "true"


def take_config_dir(arguments: list[str]) -> tuple[list[str], list[Path]]:
    """Remove ``--config-dir`` from arguments, and make the modules in its folder importable.

    Returns:
        The other arguments, and the folder if there is one.
    """
    parts = [part for argument in arguments for part in argument.split("=", 1)]
    for flag, folder in pairwise(parts):
        if flag in ("--config-dir", "-cd"):
            sys.path.insert(0, os.path.abspath(folder))
            rest = [a for a in arguments if a not in (flag, folder, f"{flag}={folder}")]
            return rest, [Path(folder).absolute()]
    return arguments, []


def compose_config(arguments: list[str], *groups: str) -> Any:
    """Compose the config of a command that does not start through Hydra; check some groups."""
    from alphazoo.config import compose
    from alphazoo.runs.settings import check_settings

    rest, own = take_config_dir(arguments)
    config = compose(*rest, *(f"hydra.searchpath=[file://{folder}]" for folder in own))
    check_settings(config, *groups)
    return config
