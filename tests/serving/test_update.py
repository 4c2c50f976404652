"""A child learns the days since from its parent's weights, and is compared on days new to both."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import MODELS, SMALL, Alphazoo, model_overrides
from stopping import stopped_in

from alphazoo.commands.job import train
from alphazoo.config import compose, instantiate
from alphazoo.data.lineage import read_lineage
from alphazoo.errors import InputError
from alphazoo.models.checkpoint import read_checkpoint, write_checkpoint
from alphazoo.runs.run import Run
from alphazoo.serving.monitor.reference import Reference
from alphazoo.serving.predict import predict
from alphazoo.serving.update import compare_runs, plan_update

DAYS = ["valid_days=5", "test_days=5"]
QUICK = ["trainer.max_epochs=1", "++trainer.limit_train_batches=3"]
LINEAR = [*SMALL, "model=linear", "data/concepts=none"]


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("parent") / "run"
    train(compose(*LINEAR, f"folder={folder}"))
    return Run.open(folder)


def test_the_segments_are_new_and_apart(parent: Run) -> None:
    days = {
        name: pd.to_datetime([*plan_update(parent, valid_days=5, test_days=5).data[name]])
        for name in ("train", "valid", "test")
    }
    seen = read_checkpoint(parent.checkpoint)["MarketDataModule"]["days"]["valid"][1]
    assert days["train"][0] == pd.Timestamp("2015-02-02")
    assert days["train"][1] < days["valid"][0] <= days["valid"][1] < days["test"][0]
    assert days["valid"][0] > pd.Timestamp(seen)
    half = plan_update(parent, valid_days=5, test_days=5, replay=0.5)
    assert half.data.train[0] > "2015-03"
    assert half.data.valid == plan_update(parent, valid_days=5, test_days=5).data.valid


def test_a_child_starts_from_its_parent_and_names_it(
    alphazoo: Alphazoo, parent: Run, tmp_path: Path
) -> None:
    result = alphazoo("update", f"run={parent.folder}", *DAYS, "out=child")
    assert result.code == 0
    assert "5 days from" in result.out
    about = json.loads((tmp_path / "child" / "update.json").read_text())
    assert about["child_of"]["run"] == str(parent.folder)
    assert about["compared_days"] == 5
    child = read_checkpoint(tmp_path / "child" / "checkpoints" / "best.ckpt")
    assert [ancestor["how"] for ancestor in read_lineage(child)] == ["update"]
    ours, theirs = (Reference.read(folder) for folder in (tmp_path / "child", parent.folder))
    assert ours.ic[:-5].tolist() == theirs.ic.tolist()  # its own five validation days follow
    assert len(ours.score_counts) == len(ours.replaced) == len(ours.ic)
    again = alphazoo("update", f"run={parent.folder}", *DAYS, "out=child")
    assert "is already finished" in again.out
    frozen = ["model.lr=1e-12", "trainer.max_epochs=1"]
    assert alphazoo("update", f"run={parent.folder}", *DAYS, *frozen, "out=same").code == 0
    ours, theirs = (
        read_checkpoint(folder / "checkpoints" / "best.ckpt")["state_dict"]
        for folder in (tmp_path / "same", parent.folder)
    )
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in theirs)


@pytest.mark.thorough
def test_a_killed_update_goes_on_to_the_same_weights(
    alphazoo: Alphazoo, parent: Run, tmp_path: Path
) -> None:
    command = ("update", f"run={parent.folder}", *DAYS)
    assert alphazoo(*command, "out=whole").code == 0
    config = plan_update(parent, valid_days=5, test_days=5, folder="killed")
    with stopped_in(epoch=1):
        train(config)
    assert alphazoo(*command, "out=killed").code == 0
    whole, killed = (
        read_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt")["state_dict"]
        for name in ("whole", "killed")
    )
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


def parent_of(folder: Path, *overrides: str) -> Run:
    train(compose(*SMALL, *QUICK, *overrides, f"folder={folder}"))
    return Run.open(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_model_learns_new_days(name: str, tmp_path: Path, alphazoo: Alphazoo) -> None:
    run = parent_of(tmp_path / "run", *model_overrides(name, hidden_size=8, lambda_l1=0))
    assert alphazoo("update", f"run={run.folder}", *DAYS, "out=child").code == 0
    scores = predict(Run.open("child"), first="2015-06-22", last="2015-06-30")
    assert np.isfinite(scores["score"]).all()


def test_a_child_neither_pretrains_nor_waits_for_its_adversaries(tmp_path: Path) -> None:
    """What the first epochs of TRA and ADD do for untrained weights; the parent's are trained."""
    pretraining = ["model=tra", "model.hidden_size=8", "model.pretrain_epochs=9"]
    run = parent_of(tmp_path / "run", *pretraining)
    router = "router.weight_ih_l0"
    before = read_checkpoint(run.checkpoint)["state_dict"][router]
    child = plan_update(run, valid_days=5, test_days=5, folder=str(tmp_path / "child"))
    train(child)
    found = read_checkpoint(tmp_path / "child" / "checkpoints" / "best.ckpt")
    assert not torch.equal(found["state_dict"][router], before)
    add = instantiate(compose("model=add").model)
    assert add.reversal == 0
    add.lineage = read_lineage(found)
    assert add.reversal == add.reversal_limit
    add.lineage = [{**add.lineage[0], "how": "init_from"}]
    assert add.reversal == 0
    add.reversal_rate = 0.0
    add.lineage = read_lineage(found)
    assert add.reversal == 0


def test_weights_of_other_stocks_or_concepts_are_refused(tmp_path: Path) -> None:
    stocks = ["model=stockmixer", "model.n_stocks=12"]
    run = parent_of(tmp_path / "stocks", *stocks)
    content = read_checkpoint(run.checkpoint)
    content["alphazoo"]["symbols"][0] = "ELSE"
    write_checkpoint(content, run.checkpoint)
    plan = {"valid_days": 5, "test_days": 5, "folder": str(tmp_path / "child")}
    with pytest.raises(InputError, match=r"another universe than that of the data.*ELSE"):
        train(plan_update(run, **plan))
    groups = ["model=rsr", "model.n_concepts=3", "model.hidden_size=8", "data/concepts=correlation"]
    few = ["data.concepts.n_groups=3", "data.concepts.min_days=20"]
    run = parent_of(tmp_path / "groups", *groups, *few)
    with pytest.raises(InputError, match="RSR has weights for each concept, but the concepts are"):
        train(plan_update(run, **plan))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected: alphazoo update run=FOLDER"),
        (["run=run", "until=2015-05-20"], "days follow until 2015-05-20: an update needs more"),
        (["run=run", "test_days=1000"], "an update needs more than"),
        (["run=run", "replay=0"], "replay=0.0: expected a share above 0"),
        (["run=run", "replay=all"], "replay=all: expected a number"),
        (["run=run", "replay=nan"], "replay=nan: expected a number"),
        (["run=run", "valid_days=20.5"], "valid_days=20.5: expected a whole number"),
        (["run=run", "valid_days=inf"], "valid_days=inf: expected a whole number"),
        (["run=run", "test_days=0"], "test_days=0: expected at least 1"),
        (["run=run", *DAYS, "out=run"], "out=run is the folder of the parent"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, alphazoo: Alphazoo, parent: Run
) -> None:
    Path("run").symlink_to(parent.folder)
    assert message in str(alphazoo("update", *arguments).code)


def test_days_that_a_run_has_seen_compare_nothing(parent: Run) -> None:
    with pytest.raises(InputError, match="2015-04-01 is not new to it"):
        compare_runs(parent, parent, first="2015-04-01", last="2015-06")
