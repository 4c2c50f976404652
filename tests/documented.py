"""What README and the guide pages show: commands, Python, and the files of the reader."""

import re
import shlex
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / ".github" / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

NAMED = re.compile(r"# (mine/\S+)\n")  # the first line of a block that is a file of the reader


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return [text for found, text in all_blocks(page) if found == language]


def all_blocks(page: Path) -> list[tuple[str, str]]:
    """The code blocks of a page, with their languages, in its order."""
    text = page.read_text(encoding="utf-8")
    found: list[tuple[str, str]] = re.findall(
        r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL
    )
    return found


def own_files(page: Path) -> dict[str, str]:
    """The files that the reader of a page writes, by their paths."""
    return {x[1]: text for _, text in all_blocks(page) if (x := NAMED.match(text))}


def write_own_files(page: Path, folder: Path) -> None:
    for name, text in own_files(page).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def calls(block: str) -> Iterator[list[str]]:
    """The calls of alphazoo in a block of console commands, each as a list of words."""
    for line in block.replace("\\\n", " ").splitlines():
        for part in re.split(r" && |; ", line.partition("  #")[0]):
            if part.strip().startswith("alphazoo "):
                yield shlex.split(re.split(r" >>? ", part)[0])[1:]


def inline_calls(page: Path) -> list[list[str]]:
    """The calls of alphazoo in the sentences and tables of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return [shlex.split(" ".join(x.split())) for x in re.findall(r"`alphazoo ([^`]+)`", text)]


def commands(page: Path) -> Iterator[list[str]]:
    """All calls of alphazoo on a page."""
    yield from chain.from_iterable(calls(text) for kind, text in all_blocks(page) if is_shell(kind))
    yield from inline_calls(page)


def is_shell(language: str) -> bool:
    return language in ("bash", "")
