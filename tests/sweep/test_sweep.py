"""Sweeps: a table, failed jobs beside the others, and again only what is missing."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import SMALL, Alphazoo, exit_code, small_config

from alphazoo.errors import InputError
from alphazoo.sweep import locks
from alphazoo.sweep.jobs import Job, assign, run_job
from alphazoo.sweep.locks import locked_sweep
from alphazoo.sweep.processes import count_cores
from alphazoo.sweep.table import tabulate

SWEEP = ["train", "-m", *SMALL, "trainer=debug", "model.hidden_size=4", "hydra.sweep.dir=sweep"]
DIVERGES = ["optimizer=sgd", "model.lr=1e-3,1e30"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of four jobs two diverge."""
    folder = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert "2 of 4 jobs failed: sweep/2 (" in str(exit_code(*SWEEP, *DIVERGES, "seed=1,2"))
    return folder / "sweep"


@pytest.fixture
def sweep(swept: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(swept, tmp_path / "sweep"))


def statuses(folder: Path) -> dict[str, str]:
    files = sorted(folder.glob("*/status.json"))
    return {file.parent.name: json.loads(file.read_text())["status"] for file in files}


@pytest.mark.thorough
def test_a_failed_job_is_recorded_and_the_others_go_on(sweep: Path) -> None:
    assert statuses(sweep) == {"0": "done", "1": "done", "2": "failed", "3": "failed"}
    table = pd.read_parquet(sweep / "sweep.parquet")
    assert table["model.lr"].tolist() == [1e-3, 1e-3, 1e30, 1e30]
    assert table["seed"].tolist() == [1, 2, 1, 2]
    assert table["status"].tolist() == ["done", "done", "failed", "failed"]
    metrics = json.loads((sweep / "1" / "metrics.json").read_text())
    assert table["test/ic"].iloc[1] == pytest.approx(metrics["test/ic"])
    assert table["test/ic"].isna().tolist() == [False, False, True, True]
    assert table["error"].iloc[3] == json.loads((sweep / "3" / "status.json").read_text())["error"]
    assert [Path(folder).name for folder in table["folder"]] == ["0", "1", "2", "3"]


@pytest.mark.thorough
def test_the_same_sweep_again_does_what_is_missing(sweep: Path, alphazoo: Alphazoo) -> None:
    (sweep / "1" / "metrics.json").unlink()
    before = {name: (sweep / name / "status.json").stat().st_mtime_ns for name in "0123"}
    result = alphazoo(*SWEEP, "seed=2,1,3", *DIVERGES)
    after = {name: (sweep / name / "status.json").stat().st_mtime_ns for name in "0123"}
    assert [name for name in before if before[name] != after[name]] == ["1", "2", "3"]
    assert statuses(sweep) == {k: "failed" if k in "235" else "done" for k in "012345"}
    assert "3 of 6 jobs failed" in str(result.code)
    assert len(pd.read_parquet(sweep / "sweep.parquet")) == 6


def test_compare_leaves_out_jobs_without_a_result(
    sweep: Path, alphazoo: Alphazoo, caplog: pytest.LogCaptureFixture
) -> None:
    result = alphazoo("compare", "sweep", "out=side")
    assert result.code == 0
    assert "left out 2 of 4 runs in sweep without results: 2, 3" in caplog.text
    assert result.out.split("results:")[0].split()[-1] == "2"  # runs of the only group


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_jobs_run_in_processes_that_share_the_cores(
    launcher: str, alphazoo: Alphazoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    options = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    result = alphazoo(*SWEEP, *DIVERGES, f"hydra/launcher={launcher}", *options)
    assert "1 of 2 jobs failed: sweep/1 (" in str(result.code)
    assert statuses(tmp_path / "sweep") == {"0": "done", "1": "failed"}
    for job in "01":
        log = (tmp_path / "sweep" / job / "train.log").read_text()
        assert f"on cpu with {max(1, count_cores() // 2)} thread" in log
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.thorough
def test_a_file_of_the_sweep_group_says_what_to_combine(alphazoo: Alphazoo, tmp_path: Path) -> None:
    (tmp_path / "mine" / "sweep").mkdir(parents=True)
    (tmp_path / "mine" / "sweep" / "pair.yaml").write_text(
        "# @package _global_\ndefaults: [grid]\n"
        "hydra: {mode: MULTIRUN, sweeper: {params: {seed: '1,2'}}}\n"
    )
    result = alphazoo("train", "--config-dir=mine", *SWEEP[2:], "sweep=pair")
    assert result.code == 0
    assert pd.read_parquet(tmp_path / "sweep" / "sweep.parquet")["seed"].tolist() == [1, 2]


@pytest.mark.parametrize("flag", ["-m", "sweep=seeds"])
def test_an_unknown_key_ends_a_sweep_before_it_begins(
    flag: str, alphazoo: Alphazoo, tmp_path: Path
) -> None:
    told = [argument for argument in SWEEP if argument != "-m"]
    result = alphazoo(*told, flag, "model=gru,lstm", "model.heads=1,2")
    assert "unknown config key 'model.heads'" in str(result.code)
    assert not [*(tmp_path / "sweep").glob("*/status.json")]


def test_a_job_that_failed_has_no_figures(tmp_path: Path) -> None:
    """Of an earlier attempt that ended well the file of figures may still be there."""
    jobs = {}
    for name, status in (("0", "done"), ("1", "failed"), ("2", "running"), ("3", "pruned")):
        folder = tmp_path / name
        jobs[folder] = Job([f"seed={name}"], status)
        folder.mkdir()
        (folder / "metrics.json").write_text(json.dumps({"test/ic": 0.5}))
        (folder / "status.json").write_text(json.dumps(asdict(jobs[folder])))
    table = tabulate(jobs)
    assert table["test/ic"].notna().tolist() == [True, False, False, False]
    assert table["seed"].tolist() == [0, 1, 2, 3]


def test_a_job_is_known_by_its_overrides_in_any_order(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    (tmp_path / "7").mkdir()
    with pytest.raises(KeyboardInterrupt):
        run_job(tmp_path / "7", ["data.path=a/b", "seed=1"], stop)
    assert Job(**json.loads((tmp_path / "7" / "status.json").read_text())).status == "running"
    jobs = [["seed=1", "data.path=a/b"], ["seed=2", "data.path=a/b"]]
    assert assign(tmp_path, jobs) == {tmp_path / "7": jobs[0], tmp_path / "8": jobs[1]}


def test_processes_of_a_sweep_take_different_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(locks, "HELD", [])
    taken = []
    for accelerator in ("auto", "cpu", "gpu", "gpu"):  # the last finds none that is free
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
        locks.claim_gpu(small_config(f"trainer.accelerator={accelerator}"), tmp_path)
        taken.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert taken == ["3", "3,5", "5", "3,5"]


def test_a_sweep_runs_in_one_process_at_a_time(tmp_path: Path) -> None:
    again = pytest.raises(InputError, match="running in another process")
    with locked_sweep(tmp_path), again, locked_sweep(tmp_path):
        pass
    with locked_sweep(tmp_path):
        pass
