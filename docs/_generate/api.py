"""The API reference: a page for each package of alphazoo, with all of its modules."""

from collections.abc import Mapping
from pathlib import Path

import alphazoo
from _generate.markdown import rst, table, toctree

PACKAGE = Path(alphazoo.__file__).parent
HIDDEN = ("__main__", "commands", "sweep.plugins")  # used through the command line
SHOWN = ("commands.job",)  # used from notebooks, too


def modules() -> list[str]:
    """Return the names of all documented modules, each package before its modules."""
    files = sorted(
        PACKAGE.rglob("*.py"), key=lambda file: (file.parent, file.stem != "__init__", file)
    )
    names = (".".join(file.relative_to(PACKAGE).with_suffix("").parts) for file in files)
    return [
        name.removesuffix(".__init__")
        for name in names
        if name in SHOWN or not name.startswith(HIDDEN)
    ]


def pages() -> Mapping[str, str]:
    """Return the text of each page by its name."""
    found = [name for name in modules() if name != "__init__"]
    packages = sorted({name.partition(".")[0] for name in found if (PACKAGE / name).is_dir()})
    rooms = {
        room: [name for name in found if f"{name}.".startswith(f"{room}.")] for room in packages
    }
    ground = [name for name in found if name.partition(".")[0] not in packages]
    index = [
        "# API reference",
        "These names are imported from `alphazoo` itself, each when it is first used:",
        table(("name", "defined in"), [_front(name) for name in sorted(alphazoo.__all__)]),
        "Packages in the order in which data flow through them are listed in "
        "[Contributing](../../contributing.md).",
        toctree(["ground", *packages]),
    ]
    pages = {room: _page(f"alphazoo.{room}", names) for room, names in rooms.items()}
    pages["ground"] = _page("alphazoo", ["", *ground])
    return {**pages, "index": "\n\n".join(index)}


def _front(name: str) -> tuple[str, str]:
    home = f"alphazoo.{alphazoo._HOMES[name]}"
    return f"{{py:obj}}`alphazoo.{name} <{home}.{name}>`", f"{{py:mod}}`{home}`"


def _page(title: str, names: list[str]) -> str:
    parts = [f"# {title}"]
    for name in names:
        module = f"alphazoo.{name}".rstrip(".")
        if module != title:
            parts.append(f"## {module}")
        parts.append(rst(f".. automodule:: {module}\n   :members:"))
    return "\n\n".join(parts)
