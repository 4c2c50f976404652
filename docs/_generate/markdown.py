"""Pieces of Markdown that generated pages share."""

import re
from collections.abc import Iterable, Sequence

OUR_NAME = re.compile(r"(?<![`:\w])`(alphazoo(?:\.\w+)+)`(?!`)")
WITHOUT_CODE = re.compile(r"(`+[^`]*`+)")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells are Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


def from_docstring(text: str) -> str:
    """Turn a line of a docstring or comment into Markdown: names of ours are links."""
    parts = WITHOUT_CODE.split(OUR_NAME.sub(r"{py:obj}`\1`", text))
    return "".join(p if p.startswith("`") else re.sub(r"([<*])", r"\\\1", p) for p in parts)


def code(text: str, most: int = 60) -> str:
    """Return text as code, shortened to one cell of a table."""
    shown = text if len(text) <= most else f"{text[:most]}..."
    return f"``{shown}``" if "`" in shown else f"`{shown}`"


def rst(text: str) -> str:
    """Return a block of reStructuredText, the language of docstrings, in a Markdown page."""
    return f"````{{eval-rst}}\n{text}\n````\n"


def toctree(entries: Iterable[str], *, depth: int = 1) -> str:
    """Return a table of contents, without links on the page itself."""
    lines = "\n".join(entries)
    return f"```{{toctree}}\n:hidden:\n:maxdepth: {depth}\n\n{lines}\n```\n"
