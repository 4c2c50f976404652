"""The page of all commands, made from the help and the functions behind them."""

import inspect

from _generate.markdown import from_docstring
from alphazoo.cli import COMMANDS, HELP


def page() -> str:
    """Return its text."""
    parts = ["# Commands", f"```text\n{HELP}```"]
    for name, function in COMMANDS.items():
        text = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
        parts += [f"## alphazoo {name}", from_docstring(text)]
    return "\n\n".join(parts)
