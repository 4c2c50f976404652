"""Model cards: a page for each yaml file in configs/model, made from docstrings and comments."""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path

from hydra.utils import get_class

from _generate.comments import read_config
from _generate.markdown import code, from_docstring, rst, table, toctree
from _generate.meanings import ROOT, explain_argument, full_key
from _generate.names import link_names
from alphazoo.models import list_zoo


def pages() -> Mapping[str, str]:
    """Return the text of each page by its name."""
    files = sorted((ROOT / "model").glob("*.yaml"))
    rows = [
        (f"[`{name}`]({name}.md)", size, from_docstring(about), f"[source]({link})" if link else "")
        for name, size, about, link in list_zoo()
    ]
    index = [
        "# Model cards",
        "`alphazoo models` prints this table; `alphazoo models gats` prints a card. Parameters are "
        "counted with the default settings on Alpha360.",
        table(("`model`", "parameters", "what it is", "paper or source"), rows),
        toctree(file.stem for file in files),
    ]
    return {**{file.stem: "\n\n".join(_card(file)) for file in files}, "index": "\n\n".join(index)}


def _card(file: Path) -> Iterator[str]:
    config = read_config(file)
    target = str(config.content["_target_"])
    module = target.rpartition(".")[0]
    yield f"# {file.stem}"
    yield rst(f".. automodule:: {module}\n   :no-members:\n   :no-index:")
    yield rst(link_names((inspect.getdoc(get_class(target)) or "").partition("\n\nArgs:")[0]))
    yield f"Its class is {{py:class}}`{target}`."
    yield "## Settings"
    yield table(("key", "value", "meaning", "note"), _settings(file, target))
    yield from _experiments(file.stem)


def _settings(file: Path, target: str) -> Iterator[tuple[str, str, str, str]]:
    for key in read_config(file).keys:
        meaning = explain_argument(target, key.path[-1])
        yield (
            code(full_key(file, key)),
            code(key.value),
            from_docstring(meaning),
            from_docstring(key.comment),
        )


def _experiments(name: str) -> Iterator[str]:
    """The published settings of a model, and those tuned here."""
    files = sorted((ROOT / "experiment").glob("*.yaml"))
    own = [file for file in files if {"override /model": name} in _defaults(file)]
    if own:
        yield "## Published and tuned settings"
    for file in own:
        text = read_config(file).text
        yield f"```bash\nalphazoo train experiment={file.stem} data=qlib data.path=FOLDER\n```"
        yield f"```yaml\n{text}```"


def _defaults(file: Path) -> list[object]:
    found = read_config(file).content.get("defaults", [])
    return found if isinstance(found, list) else []
