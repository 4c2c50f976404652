"""The order of rooms: a file imports only files of rooms before its own, and no file in a circle.

Import statements are read, not run: those for types alone and those inside functions count, too.
"""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import alphazoo

PACKAGE = Path(alphazoo.__file__).parent

# a name is a room or a file at the root of the package; each may import those before it
ORDER = (
    *("errors", "files", "allocator", "bounds", "metrics", "config"),
    *("market", "features", "data", "losses", "models", "runs", "tracking", "training"),
    *("backtest", "evaluation", "serving", "explain", "sweep"),
    *("qlib", "commands", "cli", "__main__", "__init__"),
)
ROOT = 10  # files at the root of the package, at most
LONG = 250  # lines of a file that needs no reason for more

FILES = {
    ".".join(file.relative_to(PACKAGE).with_suffix("").parts): file
    for file in sorted(PACKAGE.rglob("*.py"))
}


def imported(file: Path) -> Iterator[str]:
    """Names below ``alphazoo`` that a file imports: modules, or what is in them."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("alphazoo."):
                yield name.removeprefix("alphazoo.")


def find_module(name: str) -> str:
    """The file that an imported name is, or is in."""
    while name:
        for module in (name, f"{name}.__init__"):
            if module in FILES:
                return module
        name = name.rpartition(".")[0]
    return "__init__"


IMPORTS = {
    module: {find_module(name) for name in imported(file)} - {module}
    for module, file in FILES.items()
}


def room(module: str) -> int:
    """Its place in the order."""
    return ORDER.index(module.partition(".")[0])


def test_the_imports_are_read() -> None:
    assert "data.days" in IMPORTS["models.base"]
    assert sum(map(len, IMPORTS.values())) > 300


@pytest.mark.parametrize("module", FILES)
def test_a_file_imports_only_rooms_before_its_own(module: str) -> None:
    assert not [other for other in IMPORTS[module] if room(other) > room(module)]


def test_no_files_import_each_other_in_a_circle() -> None:
    TopologicalSorter(IMPORTS).prepare()  # raises CycleError, which names the circle


TEXT = {"read_text", "write_text", "FileHandler"}  # encode by the locale unless told


@pytest.mark.parametrize("module", FILES)
def test_text_is_in_utf_8_whatever_the_locale(module: str) -> None:
    for call in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", None) in TEXT:
            given = [ast.unparse(x) for x in call.args] + [str(key.arg) for key in call.keywords]
            assert {"encoding", "'utf-8'"} & set(given), f"line {call.lineno}: {ast.unparse(call)}"


def test_few_files_lie_at_the_root() -> None:
    assert len([module for module in FILES if "." not in module]) <= ROOT


@pytest.mark.parametrize("module", FILES)
def test_a_long_file_gives_its_reason(module: str) -> None:
    text = FILES[module].read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text)) or ""
    assert len(text.splitlines()) <= LONG or "long because" in " ".join(docstring.split())
