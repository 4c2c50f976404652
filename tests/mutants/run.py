"""Mutation testing: do the tests fail when the code is broken?

``mutants.toml`` lists mutants: small changes of the package, each of which makes a number wrong,
with the tests that must fail. From the root of the repository::

    python tests/mutants/run.py                     # all of them
    python tests/mutants/run.py NAME ...            # some of them
    python tests/mutants/run.py --all-tests NAME    # if its tests pass, run the whole default suite

The package, its configs and its tests are copied to a temporary folder. There the tests of the
chosen mutants run once unchanged, and must pass; then each mutant is applied alone and its tests
run in one process, without slow tests, pyqlib and alphalens. A mutant that no test notices has
survived, and the exit status is 1.

A mutant has a ``name``, a ``kind``, a ``file`` inside the package, an ``old`` text that occurs
there exactly once, its replacement ``new``, and ``tests``: files in ``tests``, or node ids.
`tests/test_mutants.py` checks that the list fits the code.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = (
    *("alphazoo", "configs", "docs", "notebooks", "tests", ".github"),
    *("pyproject.toml", "README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE"),
)
PYTEST = ("-x", "-q", "--no-header", "-p", "no:cacheprovider", "-o", "addopts=", "-m", "not slow")
ABSENT = ("qlib", "alphalens")  # what only tests of parity use


@dataclass(frozen=True)
class Mutant:
    """A change of the package that tests must notice."""

    name: str
    kind: str
    file: str
    old: str
    new: str
    tests: Sequence[str]

    def apply(self, text: str) -> str:
        """The text of its file, changed.

        Raises:
            ValueError: The old text does not occur exactly once.
        """
        count = text.count(self.old)
        if count != 1:
            raise ValueError(f"{self.name}: the old text occurs {count} times in {self.file}")
        return text.replace(self.old, self.new)


def read_mutants() -> list[Mutant]:
    """Those of ``mutants.toml``."""
    text = Path(__file__).with_name("mutants.toml").read_text(encoding="utf-8")
    return [Mutant(**fields) for fields in tomllib.loads(text)["mutant"]]


def copy_project(folder: Path) -> None:
    """Copy what the tests need, and hide packages that the default tests do without."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "_build", ".*")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    for name in ABSENT:
        (folder / f"{name}.py").write_text("raise ModuleNotFoundError('hidden')\n")


def run_tests(folder: Path, tests: Iterable[str]) -> subprocess.CompletedProcess[str]:
    """Run tests, by their names in the folder ``tests``, in one process."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", *PYTEST, *(f"tests/{test}" for test in tests)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def is_killed(folder: Path, mutant: Mutant, tests: Iterable[str]) -> bool:
    """Apply a mutant, run tests, and take it back."""
    file = folder / "alphazoo" / mutant.file
    original = file.read_text(encoding="utf-8")
    try:
        file.write_text(mutant.apply(original), encoding="utf-8")
        done = run_tests(folder, tests)
    finally:
        file.write_text(original, encoding="utf-8")
        Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)
    if done.returncode not in (0, 1):  # 2 and more: no tests ran
        raise RuntimeError(f"{mutant.name}: pytest failed\n{done.stdout}{done.stderr}")
    return done.returncode == 1


def main() -> int:
    """Run the program; the exit status is 1 where a mutant survives."""
    parser = argparse.ArgumentParser(description="Do the tests fail when the code is broken?")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of mutants; default: all")
    parser.add_argument("--all-tests", action="store_true", help="for survivors of their tests")
    options = parser.parse_args()
    known = {mutant.name: mutant for mutant in read_mutants()}
    if unknown := set(options.names) - known.keys():
        parser.error(f"no mutant is named {', '.join(sorted(unknown))}")
    chosen = [known[name] for name in dict.fromkeys(options.names or known)]
    with tempfile.TemporaryDirectory(prefix="mutants") as temporary:
        folder = Path(temporary)
        copy_project(folder)
        unchanged = run_tests(folder, sorted({test for mutant in chosen for test in mutant.tests}))
        if unchanged.returncode:
            print(unchanged.stdout, unchanged.stderr, "the tests fail without a mutant", sep="\n")
            return 2
        survivors = []
        for mutant in chosen:
            start = time.monotonic()
            killed = is_killed(folder, mutant, mutant.tests)
            if not killed and options.all_tests:
                killed = is_killed(folder, mutant, [""])
            survivors += [] if killed else [mutant.name]
            seconds = time.monotonic() - start
            print(
                f"{'killed' if killed else 'SURVIVED':9}{seconds:6.1f} s  {mutant.name}", flush=True
            )
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} killed", *survivors, sep="\n  ")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
