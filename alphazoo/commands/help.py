"""The help of the command line, made from `alphazoo.commands.catalog`."""

from collections.abc import Mapping, Sequence
from textwrap import wrap

from alphazoo.commands.catalog import COMMANDS, FLAGS, STATUS, TRAIN

WIDTH = 100
DERIVED = ("hydra.", "datamodule.", "data.market.", "folder")  # keys that repeat others


def overview(prefix: str = "") -> str:
    """Return the list of commands whose names begin with a prefix, such as ``data``."""
    names = [name for name in COMMANDS if name.startswith(prefix)]
    lines = [
        f"usage: alphazoo {prefix or 'COMMAND'} [KEY=VALUE ...]",
        "",
        *_columns({name: COMMANDS[name].does for name in names}),
        "",
        f"alphazoo {f'{prefix} ' if prefix else ''}COMMAND --help    arguments and examples",
    ]
    if not prefix:
        lines += [
            "alphazoo --version         the version",
            "",
            "exit status:",
            *_columns({status: text.replace("`", "") for status, text in STATUS.items()}),
            "",
            "HYDRA_FULL_ERROR=1 shows the traceback of an error.",
        ]
    return "\n".join(lines) + "\n"


def page(name: str, overrides: Sequence[str] = ()) -> str:
    """Return the help of a command.

    Args:
        name: The command.
        overrides: Other arguments, which may choose the models and data whose settings are listed.
    """
    command = COMMANDS[name]
    lines = [
        f"alphazoo {name}: {command.does}",
        "",
        *wrap(f"usage: alphazoo {name} {command.usage}", WIDTH, subsequent_indent=" " * 7),
        "",
        *_columns({**command.arguments, **FLAGS}),
        "",
        "examples:",
        *(f"  alphazoo {name} {example}".rstrip() for example in command.examples),
    ]
    if name == TRAIN:
        lines += ["", *_settings(overrides)]
    return "\n".join(lines) + "\n"


def _settings(overrides: Sequence[str]) -> list[str]:
    """List the groups with their choices, and the keys of the chosen ones with their values."""
    from alphazoo.commands.yaml_keys import find_folders, read_groups, read_keys

    groups = read_groups(find_folders(overrides))
    keys = [
        f"  {key}={value}"
        for key, value in read_keys(overrides).items()
        if not key.startswith(DERIVED) and "_target_" not in value
    ]
    return [
        "groups and their choices:",
        *_columns({f"{group}=": ", ".join(c) for group, c in groups.items()}),
        "",
        "keys and their values, with these choices or those given beside --help:",
        *keys,
    ]


def _columns(rows: Mapping[str, str]) -> list[str]:
    """Return lines of two columns; the second one is wrapped."""
    left = min(26, max(map(len, rows), default=0)) + 2
    lines = []
    for name, text in rows.items():
        wrapped = wrap(text, WIDTH - left - 2) or [""]
        if len(name) >= left:
            lines.append(f"  {name}")
            name = ""
        lines += [f"  {'' if i else name:<{left}}{part}".rstrip() for i, part in enumerate(wrapped)]
    return lines
