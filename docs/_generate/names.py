"""Docstrings name objects in single backticks; here, these names become references."""

import re

NAME = re.compile(r"(?<![`:\\\w])`([A-Za-z_][\w.]*)`(?![`_])")
UNDOCUMENTED = re.compile(r"(.*\.)?(_\w+|[A-Z0-9_]+)")  # private names and constants


def link_names(text: str) -> str:
    """Return reStructuredText in which names refer to what they name, wherever it is defined."""
    return NAME.sub(_link, text)


def _link(match: re.Match[str]) -> str:
    name = match[1]
    if UNDOCUMENTED.fullmatch(name):
        return f"``{name}``"
    return f":py:obj:`{name}`" if name.startswith("alphazoo.") else f":py:obj:`~.{name}`"
