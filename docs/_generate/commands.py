"""The page of all commands, made from the catalog that the help and the completion read, too."""

from collections.abc import Mapping

from _generate.markdown import code, table
from alphazoo.commands.catalog import COMMANDS, FLAGS, STATUS


def page() -> str:
    """Return its text."""
    parts = [
        "# Commands",
        table(["command", ""], [(link(name), command.does) for name, command in COMMANDS.items()]),
        "Every command takes",
        _described(FLAGS),
        "## Exit status",
        _described(STATUS, "status"),
        "## Shell completion",
        "`alphazoo completion bash`, `zsh` or `fish` prints a script that completes commands, "
        f"config groups, their choices, and keys; see {link('completion')}.",
    ]
    for name, command in COMMANDS.items():
        calls = "\n".join(f"alphazoo {name} {example}".rstrip() for example in command.examples)
        parts += [
            f"## alphazoo {name}",
            f"{command.does[0].upper()}{command.does[1:]}.",
            f"```text\nalphazoo {name} {command.usage}\n```",
            _described(command.arguments),
            f"```bash\n{calls}\n```",
        ]
    return "\n\n".join(part for part in parts if part)


def link(name: str) -> str:
    """Return a link to the section of a command."""
    return f"[{name}](#alphazoo-{name.replace(' ', '-')})"


def _described(meanings: Mapping[str, str], what: str = "argument") -> str:
    rows = [(code(name), text) for name, text in meanings.items()]
    return table([what, "meaning"], rows) if rows else ""
