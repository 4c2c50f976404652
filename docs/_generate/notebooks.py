"""The pages of the notebooks, with outputs, which git does not store.

``sphinx-build -t notebooks`` runs each notebook in an empty folder, two at a time, and keeps the
outputs in ``docs/_build/notebooks`` until the notebook, the package or a yaml file changes. A build
without this tag runs nothing: it shows the newest outputs of the same notebook, or none.
"""

import os
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path

import nbformat
from sphinx.errors import ExtensionError

ROOT = Path(__file__).parents[2]
ORDER = (  # of the pages; others follow
    *("quickstart", "your_data", "features_and_audit", "your_model", "compare_seeds"),
    *("sweep_and_pick", "judge_scores", "look_inside", "walk_forward_and_monitor", "from_qlib"),
)
LIMIT = 300  # seconds of a notebook
LOUD = 5  # lines of warnings that a notebook may print

INDEX = """\
# Notebooks

Each notebook does one task on small data that it makes itself, in less than a minute on two cores,
and ends in an assertion of what it claims. The tests run all of them. Git stores them without
outputs; those shown here were computed when the site was built.

{table}

```{{toctree}}
:hidden:

{entries}
```
"""


def names(folder: Path) -> list[str]:
    """Return the names of the notebooks of a folder, in the order of their pages."""
    found = {file.stem for file in folder.glob("*.ipynb")}
    return [*(name for name in ORDER if name in found), *sorted(found - {*ORDER})]


def pages(docs: Path, *, run: bool) -> Mapping[str, str]:
    """Return the notebooks and their index by file name.

    Args:
        docs: The source folder of the site.
        run: Run the notebooks whose outputs are not known.

    Raises:
        ExtensionError: A notebook fails, or prints more than a few warnings.
    """
    folder, cache = docs.parent / "notebooks", docs / "_build" / "notebooks"
    cache.mkdir(parents=True, exist_ok=True)
    code = _digest(sorted([*ROOT.glob("alphazoo/**/*.py"), *ROOT.glob("configs/**/*.yaml")]))
    listed = names(folder)
    files = [folder / f"{name}.ipynb" for name in listed]
    with ThreadPoolExecutor(2) as pool:
        texts = [*pool.map(partial(_with_outputs, cache=cache, code=code, run=run), files)]
    rows = ["| notebook | what it shows |", "|---|---|"]
    rows += [_row(file) for file in files]
    index = INDEX.format(table="\n".join(rows), entries="\n".join(listed))
    return {"index.md": index} | {f"{name}.ipynb": t for name, t in zip(listed, texts, strict=True)}


def _row(file: Path) -> str:
    """Title and first paragraph of a notebook, as a row of the index."""
    title, text, *_ = nbformat.read(file, as_version=4).cells[0].source.split("\n\n")
    return f"| [{title.lstrip('# ')}]({file.name}) | {' '.join(text.split())} |"


def _with_outputs(file: Path, cache: Path, code: str, run: bool) -> str:
    own = f"{file.stem}-{_digest([file])}"
    known = cache / f"{own}-{code}.ipynb"
    if run and not known.is_file():
        text = nbformat.writes(execute(file))
        for old in cache.glob(f"{file.stem}-*.ipynb"):
            old.unlink()
        known.write_text(text, encoding="utf-8")
    found = known if known.is_file() else max(cache.glob(f"{own}-*"), default=file)
    return found.read_text(encoding="utf-8").replace(
        "](../docs/", "](../"
    )  # it is one level nearer


def execute(file: Path) -> nbformat.NotebookNode:
    """Run a notebook in an empty folder, with this checkout of the package.

    Raises:
        ExtensionError: A cell fails, or the notebook leaves files in its folder or prints more than
            `LOUD` lines of warnings.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(file, as_version=4)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "ALPHAZOO_CACHE": ""}
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=LIMIT,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            extra_arguments=["--log-level=40"],  # of the kernel, whose warnings are not ours
        )
        try:
            client.execute(env={**os.environ, **own})
        except CellExecutionError as error:
            raise ExtensionError(f"{file}: {error}") from error
        if left := sorted(path.name for path in Path(folder).iterdir()):
            raise ExtensionError(f"{file} leaves files in its folder: {', '.join(left)}")
    said = [
        line
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.get("name") == "stderr"
        for line in output.text.splitlines()
    ]
    if len(said) > LOUD:
        raise ExtensionError(f"{file} prints {len(said)} lines of warnings, the first: {said[0]}")
    return notebook


def _digest(files: Iterable[Path]) -> str:
    found = sha256()
    for file in files:
        found.update(file.read_bytes())
    return found.hexdigest()[:12]
