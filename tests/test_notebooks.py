"""What every notebook keeps, without running it; `notebooks/` runs them, and so does the site."""

import ast
import inspect
import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import alphazoo

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs"))

from _generate.api import modules  # noqa: E402
from _generate.notebooks import ORDER, names, pages  # noqa: E402

NOTEBOOKS = [ROOT / "notebooks" / f"{name}.ipynb" for name in names(ROOT / "notebooks")]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

every_notebook = pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)


def cells(file: Path, kind: str = "") -> list[dict[str, Any]]:
    found = json.loads(file.read_text("utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == (kind or cell["cell_type"])]


def code(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def imports(file: Path) -> Iterator[tuple[str, str]]:
    """The names that a notebook imports from alphazoo, each with its module."""
    for cell in cells(file, "code"):
        for node in ast.walk(ast.parse(code(cell))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("alphazoo"):
                yield from ((str(node.module), name.name) for name in node.names)
            if isinstance(node, ast.Import):
                assert not any(name.name.startswith("alphazoo") for name in node.names)


def test_there_are_the_ten_notebooks_of_the_index() -> None:
    assert tuple(file.stem for file in NOTEBOOKS) == ORDER
    assert len(NOTEBOOKS) == 10


@every_notebook
def test_git_has_no_outputs(file: Path) -> None:
    for cell in cells(file, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        assert cell["metadata"] == {}


@every_notebook
def test_it_has_3_to_12_cells_of_which_the_first_is_its_title(file: Path) -> None:
    found = cells(file)
    assert 3 <= len(found) <= 12
    assert found[0]["cell_type"] == "markdown"
    title, text = code(found[0]).split("\n\n")[:2]
    assert title.startswith("# ")
    assert text.endswith(".")


@every_notebook
def test_its_last_cell_asserts_what_it_claims(file: Path) -> None:
    last = cells(file)[-1]
    assert last["cell_type"] == "code"
    assert any(isinstance(node, ast.Assert) for node in ast.parse(code(last)).body)


@every_notebook
def test_it_uses_documented_public_names_only(file: Path) -> None:
    documented = {f"alphazoo.{name}" for name in modules() if name != "__init__"}
    used = list(imports(file))
    assert used
    for module, name in used:
        if module == "alphazoo":
            assert name in alphazoo.__all__
            continue
        assert module in documented, f"{module} has no page in the API reference"
        found = getattr(import_module(module), name)
        assert not name.startswith("_")
        listed = name in getattr(import_module(module), "__all__", ())
        assert listed or found.__module__ == module, f"{name} is defined in {found.__module__}"
        assert inspect.getdoc(found)


@every_notebook
def test_it_writes_into_a_temporary_folder_only(file: Path) -> None:
    text = "\n".join(map(code, cells(file, "code")))
    if "folder=" in text or "to_parquet(" in text:
        assert "work = Path(tempfile.mkdtemp())" in text


@every_notebook
def test_readme_or_a_guide_links_to_it(file: Path) -> None:
    linking = [page.name for page in GUIDES if f"notebooks/{file.name}" in page.read_text("utf-8")]
    assert {"README.md"} < {*linking}, "README and a guide page link to each notebook"


def test_pages_without_known_outputs_are_those_of_git(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    (tmp_path / "notebooks").mkdir()
    docs.mkdir()
    text = NOTEBOOKS[0].read_text("utf-8")
    (tmp_path / "notebooks" / "quickstart.ipynb").write_text(text, "utf-8")
    made = pages(docs, run=False)
    assert made["quickstart.ipynb"] == text
    assert "[alphazoo in a few cells](quickstart.ipynb)" in made["index.md"]


def test_known_outputs_are_shown_until_the_notebook_changes(tmp_path: Path) -> None:
    docs, folder = tmp_path / "docs", tmp_path / "notebooks"
    folder.mkdir()
    one = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Sum\n\nIt adds."}
    two = {"cell_type": "code", "id": "b", "metadata": {}, "source": "print(1 + 1)"}
    two |= {"outputs": [], "execution_count": None}
    notebook = {"cells": [one, two], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    file = folder / "sum.ipynb"
    file.write_text(json.dumps(notebook), "utf-8")
    assert '"2\\n"' in pages(docs, run=True)["sum.ipynb"]
    assert '"2\\n"' in pages(docs, run=False)["sum.ipynb"]
    file.write_text(json.dumps(notebook).replace("1 + 1", "1 + 2"), "utf-8")
    assert '"2\\n"' not in pages(docs, run=False)["sum.ipynb"]
