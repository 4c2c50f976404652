"""Every command owns the folder that it writes to."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from conftest import SMALL, Alphazoo
from filelock import FileLock
from omegaconf import OmegaConf

import alphazoo.folders
from alphazoo.config import compose, config_dir
from alphazoo.errors import InputError
from alphazoo.folders import held, new_folder, results_folder

PROCESS = """
import sys
from pathlib import Path
from alphazoo.folders import held, results_folder
asked, told = sys.argv[1:]
with results_folder(asked or None) as folder:
    print(folder, flush=True)
    sys.stdin.read()  # until the test has seen both
    (folder / "result").write_text(told)
"""


def start(folder: Path, asked: str, told: str) -> "subprocess.Popen[str]":
    """A process that takes a folder, writes into it when its input ends, and says which it is."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, "-c", PROCESS, asked, told]
    return subprocess.Popen(command, cwd=folder, text=True, **pipes)  # type: ignore[call-overload]


def test_two_processes_started_together_have_two_folders(tmp_path: Path) -> None:
    processes = [start(tmp_path, "", told) for told in ("a", "b")]
    folders = [process.stdout.readline().strip() for process in processes]  # type: ignore[union-attr]
    for process in processes:
        process.communicate()
    assert len({*folders}) == 2
    assert [(tmp_path / folder / "result").read_text() for folder in folders] == ["a", "b"]


def test_of_two_processes_with_one_folder_the_second_is_refused(tmp_path: Path) -> None:
    first = start(tmp_path, "out", "a")
    assert first.stdout.readline() == "out\n"  # type: ignore[union-attr]
    _, error = start(tmp_path, "out", "b").communicate()
    assert "InputError: out is in use: another process writes to it" in error
    first.communicate()
    assert (tmp_path / "out" / "result").read_text() == "a"
    assert start(tmp_path, "out", "c").communicate() == ("out\n", "")  # nobody holds it any more
    assert (tmp_path / "out" / "result").read_text() == "c"


def test_a_killed_process_leaves_its_folder(tmp_path: Path) -> None:
    first = start(tmp_path, "out", "a")
    first.stdout.readline()  # type: ignore[union-attr]
    first.kill()
    first.wait()
    with held(tmp_path / "out"):
        pass


def test_a_name_is_given_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [*pool.map(new_folder, [tmp_path / "runs" / "12-00-00"] * 8)]
    names = {"12-00-00", *(f"12-00-00-{number}" for number in range(1, 8))}
    assert (
        {folder.name for folder in made} == names == {p.name for p in (tmp_path / "runs").iterdir()}
    )


def test_folders_of_the_same_second_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Noon(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Noon":
            return cls(2020, 1, 2, 12)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(alphazoo.folders, "datetime", Noon)
    folders = []
    for _ in range(2):
        with results_folder(None) as folder:
            (folder / "result").touch()
            folders.append(str(folder))
    assert folders == ["runs/2020-01-02/12-00-00", "runs/2020-01-02/12-00-00-1"]


def test_the_folder_of_a_run_is_chosen_once_per_config(tmp_path: Path) -> None:
    """Hydra asks for it several times."""
    compose()  # registers the resolver
    text = {"dir": f"${{new_folder:{tmp_path}/${{name}}}}", "name": "run", "again": "${dir}"}
    one, other = OmegaConf.create(text), OmegaConf.create(text)
    assert [one.dir, one.again, one.dir] == [f"{tmp_path}/run"] * 3
    assert other.dir == f"{tmp_path}/run-1"


def test_hydra_takes_a_new_folder() -> None:
    hydra = OmegaConf.load(config_dir() / "train.yaml").hydra
    for node in (hydra.run, hydra.sweep):
        assert OmegaConf.to_container(node)["dir"].startswith("${new_folder:")  # type: ignore


def test_what_stays_empty_is_removed(tmp_path: Path) -> None:
    with held(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert not [*tmp_path.iterdir()]
    with held(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    (tmp_path / "mine").mkdir()
    with held(tmp_path / "mine"):
        pass
    assert (tmp_path / "a" / "b" / "file").exists()
    assert (tmp_path / "mine").exists()


def test_a_process_may_hold_a_folder_twice(tmp_path: Path) -> None:
    with held(tmp_path):
        with held(tmp_path):
            pass
        other = FileLock(tmp_path / "run.lock", timeout=0)
        with pytest.raises(TimeoutError):  # what another process would see
            other.acquire()


def test_nothing_is_written_to_the_folder_of_another_training(
    alphazoo: Alphazoo, tmp_path: Path
) -> None:
    """Hydra would write its part of the config before the training is refused."""
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / "run.lock"):
        result = alphazoo("train", *SMALL, "hydra.run.dir=run")
    assert str(result.code) == "error: run is in use: another process trains in it"
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["run.lock"]


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / "run.lock"),
        pytest.raises(InputError, match="is in use: another process writes to it"),
        held(tmp_path),
    ):
        pass
