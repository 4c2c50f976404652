"""Several processes train one model: every day counts once, and it is the model of one process."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import pytest
import torch
from conftest import MODELS, SMALL, Alphazoo, model_overrides, small_config
from lightning.pytorch.strategies import FSDPStrategy

from alphazoo.config import instantiate
from alphazoo.data.seeds import ShuffledDaySampler, epoch_seed
from alphazoo.losses.pointwise import MSE
from alphazoo.metrics import summary

EVERY_DAY = [a for a in SMALL if "accelerator" not in a and "limit" not in a]
ANYWHERE = [*EVERY_DAY, "data.train=['2015-02-01', 2015-04-13]"]
TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
ONE = ["trainer=cpu", "days_per_step=2"]


def train(folder: Path, *overrides: str, launcher: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
    program = [*launcher, "-m", "alphazoo", "train", *ANYWHERE, *overrides]
    return subprocess.Popen(
        [sys.executable, *program, f"hydra.run.dir={folder}"], stderr=subprocess.PIPE, text=True
    )


def finish(*processes: "subprocess.Popen[str]") -> None:
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors


def alone(alphazoo: Alphazoo, *overrides: str) -> None:
    result = alphazoo("train", *ANYWHERE, *ONE, *overrides, "hydra.run.dir=one")
    assert result.code == 0, result.code


def results(folder: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    metrics = json.loads((folder / "metrics.json").read_text())
    return metrics, pd.read_csv(folder / "logs" / "metrics.csv")


def assert_same(folder: Path, other: Path) -> None:
    (metrics, log), (known, known_log) = results(folder), results(other)
    assert metrics == pytest.approx(known, abs=1e-6, nan_ok=True)
    pd.testing.assert_frame_equal(log, known_log, rtol=0, atol=1e-6)  # as many epochs, too


def model(name: str) -> list[str]:
    return model_overrides(name, hidden_size=4, dropout=0.0, k_day=3, gumbel=False)


SETTINGS = ["trainer.max_epochs=6", "patience=1"]


def check_against_one_process(alphazoo: Alphazoo, two: Path, one: Path, name: str) -> None:
    alone(alphazoo, *model(name), *SETTINGS)
    assert_same(two, one)
    metrics, log = results(two)
    assert log["epoch"].max() < 6  # training was stopped early
    scores = pd.read_parquet(two / "scores.parquet")
    assert not scores.duplicated(["date", "symbol"]).any()
    test = scores[scores["split"] == "test"]
    assert test["date"].nunique() == metrics["test/days"] == 31  # an odd number, too
    assert summary(test)["ic"] == pytest.approx(metrics["test/ic"], abs=1e-12)


@pytest.mark.slow
def test_two_processes_train_the_model_of_one_that_takes_two_days_a_step(
    alphazoo: Alphazoo, tmp_path: Path
) -> None:
    finish(train(tmp_path / "two", *model("gru"), *SETTINGS, *TWO))
    check_against_one_process(alphazoo, tmp_path / "two", tmp_path / "one", "gru")


# several trainings one after another, by the same processes
ONE_AFTER_ANOTHER = """
import json, sys
from alphazoo.cli import main

for arguments in json.loads(sys.argv.pop(1)):
    sys.argv[1:] = arguments
    main()
"""
OTHERS = [name for name in MODELS if name not in ("gru", "lightgbm")]  # it refuses: test_lightgbm


@pytest.fixture(scope="module")
def trained_by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of the other models, each trained by two processes."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "each.py").write_text(ONE_AFTER_ANOTHER, encoding="utf-8")
    asked = [
        ["train", *ANYWHERE, *model(name), *SETTINGS, *TWO, f"hydra.run.dir={folder / name}"]
        for name in OTHERS
    ]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, *launcher, str(folder / "each.py"), json.dumps(asked)]
    subprocess.run(command, check=True, timeout=600)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_two_processes_train_every_model_like_one(
    alphazoo: Alphazoo, tmp_path: Path, trained_by_two: Path, name: str
) -> None:
    check_against_one_process(alphazoo, trained_by_two / name, tmp_path / "one", name)


@pytest.mark.slow
def test_two_nodes_train_the_model_of_one_process(alphazoo: Alphazoo, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = [*model("gru"), "trainer=ddp", "trainer.accelerator=cpu", "trainer.num_nodes=2"]
    nodes = [
        train(
            tmp_path / "nodes",
            *told,
            "trainer.devices=1",
            launcher=(
                *("-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"),
                *(f"--node-rank={rank}", "--master-addr=127.0.0.1", f"--master-port={port}"),
            ),
        )
        for rank in (0, 1)
    ]
    finish(*nodes)
    alone(alphazoo, *model("gru"))
    assert_same(tmp_path / "nodes", tmp_path / "one")


@pytest.mark.slow
def test_two_processes_go_on_where_two_were_stopped(tmp_path: Path) -> None:
    finish(train(tmp_path / "whole", *model("gru"), *TWO, "trainer.max_epochs=4"))
    finish(train(tmp_path / "parts", *model("gru"), *TWO))
    finish(train(tmp_path / "parts", *model("gru"), *TWO, "trainer.max_epochs=4", "ckpt=last"))
    assert_same(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_walk_forward_like_one(alphazoo: Alphazoo, tmp_path: Path) -> None:
    told = [*model("gru"), "walk_forward=monthly", "walk_forward.warm_start=true"]
    finish(train(tmp_path / "two", *told, *TWO))
    alone(alphazoo, *told)
    found, known = ((tmp_path / name / "metrics.json").read_text() for name in ("two", "one"))
    assert json.loads(found) == pytest.approx(json.loads(known), abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_day_teaches_once_in_an_epoch(processes: int) -> None:
    data = instantiate(small_config("data.train=['2015-03-01', '2015-03-12']").datamodule)
    days = data.days("train")
    assert len(days) == 7  # 2 of 3 processes have a day too few
    taught: list[int] = []
    counts = set()
    for rank in range(processes):
        mine = [
            days[item] for item in ShuffledDaySampler(days, seed=0, processes=processes, rank=rank)
        ]
        counts.add(len(mine))
        taught += [int(day.date) for day in mine if day.labels.isfinite().any()]
    assert sorted(taught) == days.rows
    assert len(counts) == 1


def test_a_day_without_labels_has_no_gradient() -> None:
    scores = torch.randn(5, requires_grad=True)
    loss = MSE()(scores, torch.full((5,), torch.nan))
    loss.backward()
    assert loss == 0
    assert scores.grad is not None
    assert (scores.grad == 0).all()


def test_processes_draw_differently() -> None:
    seeds = {epoch_seed(0, epoch, rank) for epoch in range(3) for rank in range(3)}
    assert len(seeds) == 9


@pytest.fixture
def two_gpus() -> Any:
    with (
        patch("torch.cuda.device_count", return_value=2),
        patch("torch.cuda.is_available", return_value=True),
        patch("torch.cuda.set_device"),
    ):
        yield


@pytest.mark.usefixtures("two_gpus")
def test_the_trainer_takes_a_strategy(tmp_path: Path) -> None:
    config = small_config(
        f"folder={tmp_path}", "trainer=ddp", "trainer.accelerator=gpu", "trainer.strategy=fsdp"
    )
    trainer = instantiate(config.trainer)
    assert isinstance(trainer.strategy, FSDPStrategy)
    assert trainer.num_devices == 2


@pytest.mark.usefixtures("two_gpus")
def test_more_gpus_than_there_are_is_an_error(alphazoo: Alphazoo) -> None:
    result = alphazoo("train", *ANYWHERE, "trainer=gpu", "trainer.devices=4")
    assert str(result.code).startswith(
        "error: trainer: You requested gpu: [0, 1, 2, 3] But your machine"
    )


def test_fsdp_without_a_gpu_is_an_error(alphazoo: Alphazoo) -> None:
    result = alphazoo("train", *ANYWHERE, *TWO, "trainer.strategy=fsdp")
    assert "`fsdp` requires a GPU" in str(result.code)
    assert result.err == ""


@pytest.mark.parametrize("days", ["0", "1.5", "two"])
def test_a_step_has_a_number_of_days(alphazoo: Alphazoo, days: str) -> None:
    result = alphazoo("train", *SMALL, f"days_per_step={days}")
    assert result.code == f"error: days_per_step={days}: expected a whole number (at least 1)"


def test_processes_of_a_launcher_need_one_folder(
    alphazoo: Alphazoo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    result = alphazoo("train", *SMALL)
    assert result.code == "error: 4 processes train one model: set hydra.run.dir=FOLDER for all"
    assert not (tmp_path / "runs").exists()


def test_a_job_of_a_sweep_has_one_device(alphazoo: Alphazoo) -> None:
    result = alphazoo("train", "-m", *ANYWHERE, *TWO, "seed=1,2", "hydra.sweep.dir=out")
    assert "a job of a sweep uses one device, got trainer.devices=2" in str(result.code)
