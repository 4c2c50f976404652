"""Writes the generated pages into the source folder of the site; a page that is equal stays."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from _generate import api, cards, commands, settings


def write_pages(docs: Path) -> None:
    """Write all pages, and remove those of an earlier build that are no longer made.

    Args:
        docs: The source folder of the site.
    """
    _write_folder(docs / "reference" / "models", cards.pages())
    _write_folder(docs / "reference" / "config", settings.pages())
    _write_folder(docs / "reference" / "api", api.pages())
    _write(docs / "reference" / "commands.md", commands.page())
    _copy_notebooks(docs.parent / "notebooks", docs / "notebooks")


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


def _copy_notebooks(source: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    names = sorted(file.name for file in source.glob("*.ipynb"))
    for stale in {file.name for file in folder.iterdir()} - {*names, "index.md"}:
        (folder / stale).unlink()
    for name in names:
        shutil.copy2(source / name, folder / name)
    entries = "\n".join(name.removesuffix(".ipynb") for name in names)
    _write(
        folder / "index.md",
        "# Notebooks\n\nThe tests run these notebooks; their outputs are not stored in git.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```",
    )
