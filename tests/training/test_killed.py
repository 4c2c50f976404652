"""A run that is killed at any file operation ends, started again, as one that never was killed.

``ALPHAZOO_KILLS=all pytest -m slow tests/training/test_killed.py`` kills it at every one.
"""

import os
import signal
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import SMALL, exit_code
from processes import finish, start
from test_resume import check_same_settings

from alphazoo.runs.run import Run

TRAIN = [
    *("train", *SMALL, "model=linear", "trainer.max_epochs=2", "patience=100"),
    "++trainer.limit_train_batches=2",
]
OPERATIONS = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"}
WRITES = os.O_WRONLY | os.O_RDWR
KILLS = {"few": 3, "more": 12, "all": 10_000}  # a few in the default run, all on demand


def call(folder: Path, arguments: list[str], kill_at: int | None, said: Path) -> None:
    """Run a command; note in a file how many operations changed a file, or the error."""
    count = 0

    def watch(event: str, details: tuple[object, ...]) -> None:
        nonlocal count
        if event not in OPERATIONS or not str(details[0]).startswith(str(folder)):
            return
        if event == "open" and not int(str(details[2])) & WRITES:
            return
        count += 1
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    with said.open("w", encoding="utf-8") as file:
        sys.stdout = sys.stderr = file
        code = exit_code(*arguments)
        print(count if code == 0 else code, file=file)


def alphazoo(folder: Path, *arguments: str, kill_at: int | None = None) -> int:
    """Run a command in a process of its own.

    Args:
        folder: Whose files are watched.
        kill_at: Kill the process before this operation that changes a file; from 1 on.

    Returns:
        How many operations there were; the negative signal if one ended the process.
    """
    said = folder.with_name(f"{folder.name}.txt")
    code = finish(start(call, folder, [*arguments], kill_at, said))
    if code < 0:
        return code
    last = said.read_text(encoding="utf-8").splitlines()[-1]
    assert last.isdigit(), last
    return int(last)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A run that was not killed, and the number of its file operations."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, alphazoo(folder, *TRAIN, f"hydra.run.dir={folder}")


SLOW = os.environ.get("ALPHAZOO_KILLS", "more")


@pytest.mark.parametrize(
    "part",
    [pytest.param("few", marks=pytest.mark.thorough), pytest.param(SLOW, marks=pytest.mark.slow)],
)
def test_a_run_that_is_killed_at_any_file_operation(
    part: str, whole: tuple[Path, int], tmp_path: Path
) -> None:
    known, count = whole
    assert count > 50
    for number in range(1, count + 1, max(1, count // KILLS[part])):
        folder = tmp_path / str(number)
        begin = [*TRAIN, f"hydra.run.dir={folder}"]
        assert alphazoo(folder, *begin, kill_at=number) == -signal.SIGKILL
        resumes = number % 4 < 2 and (folder / "config.yaml").is_file()
        alphazoo(folder, *(["train", f"run={folder}"] if resumes else begin))
        check_same_settings(known, folder)
        assert Run.open(folder).scores.equals(Run.open(known).scores), number
        pd.testing.assert_frame_equal(
            *(pd.read_csv(run / "logs" / "metrics.csv") for run in (known, folder))
        )
        assert files(folder) == files(known), number
