"""Writes the generated pages into the source folder of the site; a page that is equal stays."""

from collections.abc import Mapping
from pathlib import Path

from _generate import api, cards, commands, notebooks, settings


def write_pages(docs: Path, *, run_notebooks: bool = False) -> None:
    """Write all pages, and remove those of an earlier build that are no longer made.

    Args:
        docs: The source folder of the site.
        run_notebooks: Run the notebooks whose outputs are not known.
    """
    _write_folder(docs / "reference" / "models", cards.pages())
    _write_folder(docs / "reference" / "config", settings.pages())
    _write_folder(docs / "reference" / "api", api.pages())
    _write(docs / "reference" / "commands.md", commands.page())
    _write_notebooks(notebooks.pages(docs, run=run_notebooks), docs / "notebooks")


def _write_folder(folder: Path, pages: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stale in {*folder.iterdir()} - {folder / f"{name}.md" for name in pages}:
        stale.unlink()
    for name, text in pages.items():
        _write(folder / f"{name}.md", text)


def _write(file: Path, text: str) -> None:
    text = f"{text.rstrip()}\n"
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")


def _write_notebooks(pages: Mapping[str, str], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for stale in {file.name for file in folder.iterdir()} - {*pages}:
        (folder / stale).unlink()
    for name, text in pages.items():
        _write(folder / name, text)
