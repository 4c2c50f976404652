"""A child learns the days since from its parent's weights, and is compared on days new to both."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import SMALL, Alphazoo
from stopping import stopped_in

from alphazoo.commands.job import train
from alphazoo.config import compose
from alphazoo.data.lineage import read_lineage
from alphazoo.errors import InputError
from alphazoo.models.checkpoint import read_checkpoint
from alphazoo.runs.run import Run
from alphazoo.serving.update import compare_runs, plan_update

DAYS = ["valid_days=5", "test_days=5"]
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected: alphazoo update run=FOLDER"),
        (["run=run", "until=2015-05-20"], "days follow until 2015-05-20: an update needs more"),
        (["run=run", "test_days=1000"], "an update needs more than"),
        (["run=run", "replay=0"], "replay=0.0: expected a share above 0"),
        (["run=run", "replay=all"], "replay=all: expected a number"),
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
