"""Every command owns the folder that it writes to."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from conftest import SMALL, Alphazoo, small_config
from filelock import FileLock
from omegaconf import OmegaConf

import alphazoo.runs.folders
from alphazoo.config import compose, config_dir
from alphazoo.errors import InputError
from alphazoo.runs.folders import locked, new_folder, results_folder

PROCESS = """
import sys
from pathlib import Path
from alphazoo.runs.folders import locked, results_folder
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
    with locked(tmp_path / "out"):
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
    monkeypatch.setattr(alphazoo.runs.folders, "datetime", Noon)
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
    with locked(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert not [*tmp_path.iterdir()]
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    (tmp_path / "mine").mkdir()
    with locked(tmp_path / "mine"):
        pass
    assert (tmp_path / "a" / "b" / "file").exists()
    assert (tmp_path / "mine").exists()


def test_a_process_may_hold_a_folder_twice(tmp_path: Path) -> None:
    with locked(tmp_path):
        with locked(tmp_path):
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
        locked(tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    "command",
    [
        ["ensemble", "a", "b", "out=a"],
        ["ensemble", "a", "b", "out=c/../b"],
        ["ensemble", "a", "b", "out=other"],
        ["ensemble", "a", "both", "out=both"],
        ["compare", "a", "b", "out=other"],
        ["evaluate", "scores=scores.csv", "out=other"],
        ["predict", "run=a", "out=other/scores.parquet"],
    ],
)
def test_no_command_writes_into_a_run_that_it_did_not_begin(
    alphazoo: Alphazoo, tmp_path: Path, command: list[str]
) -> None:
    config = small_config()
    for name in ("a", "b", "other", "both", "c"):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        (tmp_path / name / "checkpoints" / "best.ckpt").touch()
        if name == "both":
            members = {"by": "rank", "runs": ["a", "b"]}
            OmegaConf.update(config, "ensemble", members, force_add=True)
        if name != "c":
            (tmp_path / name / "config.yaml").write_text(OmegaConf.to_yaml(config))

    def files() -> set[Path]:
        return {path for path in tmp_path.rglob("*") if path.name != "run.lock"}

    before = files()
    code = str(alphazoo(*command).code)
    assert "is the folder of a run" in code or "both is a member of the ensemble" in code
    assert files() == before


def test_a_busy_run_is_left_alone_and_a_run_counts_once(alphazoo: Alphazoo, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(OmegaConf.to_yaml(small_config()))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for again in ("a", "b/../a", "link"):
        code = str(alphazoo("ensemble", "a", "b", again, "out=out").code)
        assert f"{again} is given twice: an ensemble needs other runs" in code
    assert not (tmp_path / "out").exists()
    (tmp_path / "busy").mkdir()
    lock = FileLock(tmp_path / "busy" / "run.lock", is_singleton=False)
    with lock:
        for command in (["ensemble", "a", "b"], ["compare", "a"], ["evaluate", "scores=x.csv"]):
            assert "busy is in use" in str(alphazoo(*command, "out=busy").code)
