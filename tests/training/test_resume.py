"""A training that was stopped at any moment ends with the weights of one that never was."""

import signal
import subprocess
import sys
from pathlib import Path

import lightning as L
import pandas as pd
import pytest
import torch
from _pytest.mark import ParameterSet
from conftest import SMALL, Alphazoo, model_overrides, small_config
from filelock import FileLock
from stopping import stopped_in

from alphazoo.commands.job import train
from alphazoo.data.days import DayBatch
from alphazoo.errors import InputError
from alphazoo.models.checkpoint import read_checkpoint
from alphazoo.runs.run import Run
from alphazoo.training.fit import fit

EPOCHS = 4
GRU = [
    *("model=gru", "model.hidden_size=4", "model.dropout=0.5", "patience=50"),
    "++trainer.limit_train_batches=10",
]


def thorough(overrides: list[str]) -> ParameterSet:
    return pytest.param(overrides, marks=pytest.mark.thorough)


def last(folder: Path) -> dict[str, object]:
    return read_checkpoint(folder / "checkpoints" / "last.ckpt")


def same(a: object, b: object) -> bool:
    """Whether two parts of checkpoints are equal, to the bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


def check_same_settings(a: Path, b: Path) -> None:
    """Weights, optimiser, scheduler, best weights and logs of two runs are the same."""
    one, other = last(a), last(b)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
        assert same(one[part], other[part]), part
    best = [read_checkpoint(x / "checkpoints" / "best.ckpt")["state_dict"] for x in (a, b)]
    assert same(*best)
    logs = [pd.read_csv(x / "logs" / "metrics.csv").dropna(subset="val/ic") for x in (a, b)]
    logs = [log.reset_index(drop=True) for log in logs]
    pd.testing.assert_frame_equal(*logs, check_exact=True)


@pytest.mark.parametrize(
    "overrides",
    [
        [*GRU, "scheduler=plateau", "scheduler.scheduler.patience=0", "monitor=val/loss"],
        thorough([*GRU, "scheduler=cosine", "averaging=last_k", "averaging.k=2"]),
        thorough([*GRU, "averaging=ema", "optimizer=adamw"]),
        thorough([*GRU, "averaging=swa", "averaging.start=0.2"]),
        model_overrides("igmtf", hidden_size=4, k_day=2, n_neighbor=2, dropout=0.5),
        model_overrides("tra", hidden_size=4, router_size=3, n_losses=5, pretrain_epochs=1),
        thorough(model_overrides("add", hidden_size=4)),
        thorough(model_overrides("rsr", hidden_size=4)),
        thorough(model_overrides("dtml", hidden_size=4, feedforward_size=4)),
        thorough(model_overrides("lightgbm", lambda_l1=0, num_leaves=3, feature_fraction=0.5)),
    ],
    ids=["plateau", "last_k", "ema", "swa", "igmtf", "tra", "add", "rsr", "dtml", "lightgbm"],
)
def test_a_training_that_was_stopped_ends_with_the_same_weights(
    tmp_path: Path, overrides: list[str]
) -> None:
    def config(name: str, *more: str) -> object:
        epochs = f"trainer.max_epochs={EPOCHS}"
        return small_config(*overrides, epochs, *more, f"folder={tmp_path / name}")

    fit(config("whole"))
    with stopped_in(2):
        fit(config("stopped"))
    assert last(tmp_path / "stopped")["epoch"] == 1
    fit(config("stopped", "ckpt=last"))
    check_same_settings(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.thorough
def test_early_stopping_counts_on(tmp_path: Path) -> None:
    rate = ["model=linear", "model.lr=0.1", "monitor=val/loss", "trainer.max_epochs=30"]

    def config(name: str, *more: str) -> object:
        return small_config(*rate, "patience=3", *more, f"folder={tmp_path / name}")

    fit(config("whole"))
    end = last(tmp_path / "whole")["epoch"]
    with stopped_in(end - 1):
        fit(config("stopped"))
    fit(config("stopped", "ckpt=last"))
    check_same_settings(tmp_path / "whole", tmp_path / "stopped")
    fit(config("stopped", "ckpt=last"))
    assert last(tmp_path / "stopped")["epoch"] == end
    fit(config("stopped", "ckpt=last", "patience=4"))
    assert last(tmp_path / "stopped")["epoch"] > end


# trainings in processes that are killed, each when a file of some name is written for the n-th
# time, before it is in its place; prints the signal that ended them
KILLED = """
import os, signal, sys
from pathlib import Path
import alphazoo.commands.job  # once for all of them
from alphazoo.cli import main

replace = Path.replace

def train_until(name, count):
    def replace_or_die(file, target):
        nonlocal count
        count -= Path(target).name == name
        if count == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(file, target)

    Path.replace = replace_or_die
    main()

for name, count in (("last.ckpt", 2), ("previous.ckpt", 2), ("metrics.json", 1)):
    if not (process := os.fork()):
        train_until(name, count)
        os._exit(0)
    print(os.WTERMSIG(os.waitpid(process, 0)[1]), file=sys.stderr)
    sys.argv[2:] = ["run=run"]
"""
TRAIN = [*SMALL, "model=linear", "trainer.max_epochs=6", "patience=100"]


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on(alphazoo: Alphazoo, tmp_path: Path) -> None:
    assert alphazoo("train", *TRAIN, "hydra.run.dir=whole").code == 0
    command = [sys.executable, "-c", KILLED, "train", *TRAIN, "hydra.run.dir=run"]
    killed = subprocess.run(command, cwd=tmp_path, check=True, stderr=subprocess.PIPE, text=True)
    assert killed.stderr.split()[-3:] == [str(int(signal.SIGKILL))] * 3
    result = alphazoo("train", "run=run")
    assert result.code == 0
    assert "resuming from run/checkpoints/last.ckpt after 6 epochs" in result.out
    assert not [*(tmp_path / "run" / "checkpoints").glob(".*")]
    check_same_settings(tmp_path / "whole", tmp_path / "run")
    whole, again = Run.open("whole"), Run.open("run")
    assert again.scores.equals(whole.scores)
    assert again.metrics == whole.metrics
    assert "resuming from" in (tmp_path / "run" / "train.log").read_text()


def test_a_checkpoint_that_is_cut_off_gives_way_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def config(name: str, *more: str) -> object:
        return small_config("model=linear", "patience=50", *more, f"folder={tmp_path / name}")

    fit(config("whole", "trainer.max_epochs=4"))
    with stopped_in(3):
        fit(config("stopped", "trainer.max_epochs=4"))
    file = tmp_path / "stopped" / "checkpoints" / "last.ckpt"
    file.write_bytes(file.read_bytes()[:1000])
    with caplog.at_level("INFO"):
        fit(config("stopped", "trainer.max_epochs=4", "ckpt=last"))
    assert "last.ckpt is damaged; resuming from previous.ckpt" in caplog.text
    assert "after 2 epochs" in caplog.text
    check_same_settings(tmp_path / "whole", tmp_path / "stopped")
    for name in ("last.ckpt", "previous.ckpt"):
        file.with_name(name).write_bytes(b"")
    with pytest.raises(InputError, match="previous.ckpt is damaged"):
        fit(config("stopped", "ckpt=last"))


def test_a_folder_in_use_is_left_alone(alphazoo: Alphazoo, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / "run.lock"):
        result = alphazoo("train", *TRAIN, "hydra.run.dir=run")
    assert str(result.code).endswith("run is in use: another process trains in it")
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.thorough
def test_a_run_that_has_ended_is_left_as_it_is_unless_it_is_to_be_longer(
    alphazoo: Alphazoo, tmp_path: Path
) -> None:
    short = [*SMALL, "model=linear", "patience=50", "hydra.run.dir=run"]
    alphazoo("train", *short)
    run = tmp_path / "run"
    files = [file for file in run.rglob("*.*") if file.name not in ("train.log", "run.lock")]
    before = {file: file.stat().st_mtime_ns for file in files}
    result = alphazoo("train", "run=run")
    assert "run is already finished" in result.out
    assert "results: run" in result.out
    assert {file: file.stat().st_mtime_ns for file in files} == before
    (run / "scores.parquet").unlink()  # its process was killed before it wrote them
    assert alphazoo("train", "run=run").code == 0
    assert (run / "scores.parquet").exists()
    assert alphazoo("train", "run=run", "trainer.max_epochs=4").code == 0
    alphazoo("train", *short, "trainer.max_epochs=4", "hydra.run.dir=whole")
    check_same_settings(tmp_path / "whole", run)
    assert alphazoo("train", *short, "trainer.max_epochs=4", "ckpt=last").code == 0
    assert Run.open(run).metrics == Run.open("whole").metrics


def test_what_is_learnt_and_how_stays_the_same(alphazoo: Alphazoo, tmp_path: Path) -> None:
    assert alphazoo("train", *SMALL, "model=linear", "hydra.run.dir=run").code == 0
    code = str(alphazoo("train", "run=run", "model.lr=0.5", "seed=1").code)
    assert "made with other settings: model.lr=0.5 instead of 0.001, seed=1 instead of 0" in code
    assert "no config.yaml" in str(alphazoo("train", "run=none").code)
    code = str(alphazoo("train", *SMALL, "model=linear", "ckpt=none.ckpt").code)
    assert "ckpt=none.ckpt: no such file" in code


def test_a_training_goes_on_in_another_folder(tmp_path: Path) -> None:
    def config(name: str, *more: str) -> object:
        return small_config("model=linear", "patience=50", *more, f"folder={tmp_path / name}")

    fit(config("whole", "trainer.max_epochs=4"))
    fit(config("a"))
    (tmp_path / "a").rename(tmp_path / "b")
    run = fit(config("b", "trainer.max_epochs=4", "ckpt=last"))
    assert run.best == str(tmp_path / "b" / "checkpoints" / "best.ckpt")
    check_same_settings(tmp_path / "whole", tmp_path / "b")
    file = tmp_path / "b" / "checkpoints" / "last.ckpt"
    fit(config("c", "trainer.max_epochs=5", f"ckpt={file}"))
    assert last(tmp_path / "c")["epoch"] == 4
    assert pd.read_csv(tmp_path / "c" / "logs" / "metrics.csv")["epoch"].unique().tolist() == [4]


WALK = [
    *("walk_forward=monthly", "walk_forward.warm_start=true", "model=linear"),
    "data.train=['2015-02-01', '2015-03-31']",
    "data.valid=['2015-04-01', '2015-04-30']",
    "data.test=['2015-05-01', null]",
    "trainer.max_epochs=3",
]


@pytest.mark.thorough
def test_a_walk_forward_goes_on_with_the_window_it_was_in(tmp_path: Path) -> None:
    train(small_config(*WALK, f"folder={tmp_path / 'whole'}"))
    windows = tmp_path / "run" / "windows"
    with stopped_in(1):
        train(small_config(*WALK, f"folder={tmp_path / 'run'}", "trainer.max_epochs=1"))
        train(small_config(*WALK, f"folder={tmp_path / 'run'}"))
    train(small_config(*WALK, f"folder={tmp_path / 'run'}", "ckpt=last"))
    first = windows / "2015-05-01" / "checkpoints" / "last.ckpt"
    written = first.stat().st_mtime_ns
    (windows / "2015-06-01" / "rows.parquet").unlink()
    (tmp_path / "run" / "metrics.json").unlink()
    train(small_config(*WALK, f"folder={tmp_path / 'run'}", "ckpt=last"))
    assert first.stat().st_mtime_ns == written
    whole, again = Run.open(tmp_path / "whole"), Run.open(tmp_path / "run")
    pd.testing.assert_frame_equal(again.scores, whole.scores, check_exact=True)
    assert again.metrics == whole.metrics
    tables = [pd.read_csv(run.folder / "windows.csv") for run in (whole, again)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    with pytest.raises(InputError, match="walk_forward has several: ckpt=last"):
        train(small_config(*WALK, f"folder={tmp_path / 'run'}", f"ckpt={first}"))
    for other in ("model.lr=0.5", "walk_forward.months=3"):
        with pytest.raises(InputError, match=f"other settings: .*{other}"):
            train(small_config(*WALK, f"folder={tmp_path / 'run'}", "ckpt=last", other))
    assert again.metrics == whole.metrics  # which are there yet


def test_the_order_of_days_and_what_is_dropped_differ_by_epoch_and_seed(tmp_path: Path) -> None:
    seen: list[list[int]] = []

    class Watch(L.Callback):
        def on_train_epoch_start(self, *_: object) -> None:
            seen.append([])

        def on_train_batch_start(
            self, trainer: object, module: object, day: DayBatch, _: int
        ) -> None:
            seen[-1].append(int(day.date))

    with pytest.MonkeyPatch.context() as patch:
        init = L.Trainer.__init__
        patch.setattr(
            L.Trainer,
            "__init__",
            lambda self, **given: init(self, **given | {"callbacks": [Watch()], "logger": False}),
        )
        for seed in (0, 1):
            every_day = ["model=linear", "++trainer.limit_train_batches=1.0"]
            fit(small_config(*every_day, f"seed={seed}", f"folder={tmp_path / str(seed)}"))
    assert len({tuple(order) for order in seen}) == len(seen) == 4
    assert len({tuple(sorted(order)) for order in seen}) == 1
