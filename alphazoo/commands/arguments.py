"""Parse the arguments of a command: its own, and overrides of the config."""

import math
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from alphazoo.bounds import EXACT
from alphazoo.commands.catalog import COMMANDS
from alphazoo.errors import InputError, check_choice, did_you_mean, quoted

CONFIG_DIR = ("--config-dir", "-cd")
FLAGS = {  # of Hydra, with the values that they take; others of its flags replace our config
    **dict.fromkeys(("--multirun", "-m", "--run", "-r", "--resolve"), ()),
    **dict.fromkeys(("--cfg", "-c"), ("job", "hydra", "all")),
    **dict.fromkeys(("--info", "-i"), ("all", "config", "defaults", "defaults-tree", "plugins")),
}

N = TypeVar("N", int, float)


def split_arguments(arguments: list[str], command: str) -> tuple[dict[str, str], list[str]]:
    """Split arguments into the command's own values by name, and all others.

    Raises:
        InputError: An own value is none of the choices that the catalog gives.
    """
    names = COMMANDS[command].keys
    pairs = [argument.split("=", 1) for argument in arguments]
    own = {pair[0]: pair[-1] for pair in pairs if pair[0] in names}
    for name, value in own.items():
        if "|" in names[name]:
            check_choice(name, value, names[name].split("|"))
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


def number(own: dict[str, str], name: str, default: N) -> N:
    """Return a value of a command that is a number, of the type of its default.

    Raises:
        InputError: It is something else, or not finite.
    """
    kind = type(default)
    text = own.get(name, str(default))
    with suppress(ValueError):
        value = kind(text)
        if math.isfinite(value):
            return value
    raise InputError(f"{name}={text}: expected {EXACT[kind]}")


def take_config_dir(arguments: list[str]) -> tuple[list[str], list[Path]]:
    """Remove ``--config-dir`` from arguments, and make the modules in its folder importable.

    Returns:
        The other arguments, and the folder if there is one.

    Raises:
        InputError: The folder does not exist.
    """
    rest: list[str] = []
    found: list[Path] = []
    given = iter(arguments)
    for argument in given:
        flag, separator, value = argument.partition("=")
        if flag not in CONFIG_DIR:
            rest.append(argument)
            continue
        name = value if separator else next(given, "")
        if not name or not Path(name).is_dir():
            raise InputError(f"{flag}: expected a folder with yaml files, got {name!r}")
        found = [Path(name).absolute()]
        _check_yaml(found[0])
        sys.path.insert(0, str(found[0]))
    return rest, found


def _check_yaml(folder: Path) -> None:
    """Raise an `InputError` that names a file which is not UTF-8; Hydra would not name it."""
    for file in [*folder.glob("*.yaml"), *folder.glob("*/*.yaml")]:
        try:
            file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{file} is not UTF-8: {error}") from error


def flags_first(arguments: list[str]) -> list[str]:
    """Move flags of Hydra before the overrides, among which it does not accept them.

    Raises:
        InputError: There is no such flag, or it takes another value; Hydra would print its own
            usage.
    """
    flags: list[str] = []
    overrides: list[str] = []
    given = iter(arguments)
    for argument in given:
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        flag, separator, value = argument.partition("=")
        if flag not in FLAGS:
            raise InputError(f"unknown flag {flag!r}; {did_you_mean(flag, FLAGS)}")
        flags.append(flag)
        if FLAGS[flag]:
            value = value if separator else next(given, "")
            if value not in FLAGS[flag]:
                raise InputError(f"{flag} {value}: expected {', '.join(FLAGS[flag])}")
            flags.append(value)
    return [*flags, *overrides]


def compose_config(arguments: list[str], *groups: str) -> Any:
    """Compose the config of a command that does not start through Hydra; check some groups."""
    from alphazoo.config import compose
    from alphazoo.runs.settings import check_settings

    rest, own = take_config_dir(arguments)
    search = (f"hydra.searchpath=[{quoted(f'file://{folder}')}]" for folder in own)
    config = compose(*rest, *search)
    check_settings(config, *groups)
    return config
