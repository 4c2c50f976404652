"""A command that a signal stops ends with its status, says how to go on, and leaves no process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import SMALL, exit_code
from processes import finish, start

from alphazoo.runs.folders import is_locked, locked
from alphazoo.sweep.jobs import STATUS, run_job

LONG = ["train", *SMALL, "model=linear", "trainer.max_epochs=3000", "patience=5000"]
ALONE = [argument for argument in LONG if "accelerator" not in argument]
LAST = "checkpoints/last.ckpt"


def wait_for(folder: Path, name: str) -> None:
    for _ in range(600):
        if list(folder.glob(name)):
            return
        time.sleep(0.1)
    raise AssertionError(f"{folder} has no {name}")


def call(said: Path, arguments: list[str]) -> None:
    with said.open("w", buffering=1, encoding="utf-8") as file:
        sys.stdout = sys.stderr = file
        code = exit_code(*arguments)
    sys.exit(code)  # type: ignore[arg-type]


def stop(folder: Path, number: int, *arguments: str, until: str = LAST) -> tuple[int, str]:
    """Stop a command in a process of its own when a file is there: its exit status and message."""
    said = folder.with_name(f"{folder.name}.txt")
    process = start(call, said, [*arguments])
    try:
        wait_for(folder, until)
    except AssertionError:
        number = signal.SIGKILL
        raise
    finally:
        os.kill(process.pid or 0, number)
        code = finish(process)
    return code, said.read_text(encoding="utf-8")


def run_here(folder: Path, said: Path) -> None:
    run_job(folder, [], said.touch)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_training_that_is_stopped_can_go_on(name: str, tmp_path: Path) -> None:
    number, folder = int(signal.Signals[name]), tmp_path / "a run"
    code, said = stop(folder, number, *LONG, f"hydra.run.dir='{folder}'")
    assert code == 128 + number
    assert f"error: stopped by {name}; alphazoo train run='{folder}' goes on" in said
    assert "Traceback" not in said
    assert exit_code("train", f"run={folder}", "trainer.max_epochs=2") == 0


def test_a_walk_forward_that_is_stopped_can_go_on(tmp_path: Path) -> None:
    told = [*LONG, "walk_forward=monthly", f"hydra.run.dir={tmp_path / 'run'}"]
    code, said = stop(tmp_path / "run", signal.SIGTERM, *told, until=f"windows/*/{LAST}")
    assert code == 143
    assert f"error: stopped by SIGTERM; alphazoo train run={tmp_path / 'run'} goes on" in said


def test_a_sweep_that_is_stopped_runs_what_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    told = [*LONG, "-m", "seed=1,2", f"hydra.sweep.dir={folder}"]
    code, said = stop(folder, signal.SIGTERM, *told, until=f"0/{LAST}")
    assert code == 143
    assert f"the same command with hydra.sweep.dir={folder} runs what is missing" in said
    status = json.loads((folder / "0" / STATUS).read_text())
    assert (status["status"], status["error"]) == ("failed", "stopped by SIGTERM")
    assert not (folder / "1").exists()


def test_the_handlers_of_the_caller_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert exit_code("models") == 0
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_job_that_another_process_runs_keeps_its_status(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert not is_locked(tmp_path)  # by this process
        assert finish(start(run_here, tmp_path, tmp_path / "it ran")) == 0
    assert not (tmp_path / "it ran").exists()
    assert not (tmp_path / STATUS).exists()


def children(process: int) -> Iterator[int]:
    """Processes that descend from one."""
    for line in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        yield int(line)
        yield from children(int(line))


def end(number: int, *arguments: str, until: Path) -> tuple[int, str]:
    """As `stop`, for commands that start processes, all of which must end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "alphazoo", *arguments], stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(until.parent, until.name)
    except AssertionError:
        process.kill()
        raise
    started = list(children(process.pid))
    assert started
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    for _ in range(200):
        if not any(Path(f"/proc/{child}").exists() for child in started):
            return process.returncode, said
        time.sleep(0.1)
    raise AssertionError("processes are left")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
def test_all_processes_of_a_training_stop(tmp_path: Path) -> None:
    two = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    told = [*ALONE, *two, f"hydra.run.dir={tmp_path}"]
    code, said = end(signal.SIGTERM, *told, until=tmp_path / LAST)
    assert code == 143
    assert said.count("error: ") == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_no_worker_outlives_its_sweep(name: str, tmp_path: Path) -> None:
    workers = ["-m", "seed=1,2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    number = signal.Signals[name]
    told = [*LONG, *workers, f"hydra.sweep.dir={tmp_path}"]
    code, said = end(number, *told, until=tmp_path / "0" / LAST)
    assert code == (143 if name == "SIGTERM" else -signal.SIGKILL)
    assert ("runs what is missing" in said) == (name == "SIGTERM")
