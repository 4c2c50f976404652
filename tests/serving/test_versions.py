"""Versions: a worse one does not become the champion by accident, and a rollback goes back."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import SMALL, Alphazoo, exit_code

from alphazoo.runs.run import Run
from alphazoo.serving.versions import version_table

DAY = "date=2015-06-30"
STRONG = [*SMALL, "data.reversal=0.6", "data.n_stocks=40", "model=linear", "data.lead_lag=0"]
STRONG += ["++trainer.limit_train_batches=1.0", "trainer.max_epochs=3"]


@pytest.fixture(scope="module")
def registry(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose store has a good, a useless and again the good version of ``mine``."""
    from alphazoo.tracking.registry import open_store, register

    folder = tmp_path_factory.mktemp("registry")
    (folder / "runs").mkdir()
    shutil.copy(empty_store, folder / "runs" / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for number, rate in enumerate(("1e-2", "1e-12"), 1):
            told = ["logger=mlflow", "logger.mlflow.model_name=mine", f"hydra.run.dir={number}"]
            assert exit_code("train", *STRONG, f"model.lr={rate}", *told) == 0
        shutil.copytree("1", "3")
        with Path("3", "config.yaml").open("a", encoding="utf-8") as file:
            file.write("# again\n")
        client = open_store()[1]
        of = client.get_model_version("mine", "1").run_id
        assert register(client, of, "mine", Run.open("3")) == "3"
    return folder


@pytest.mark.thorough
def test_a_worse_version_is_refused_and_a_rollback_goes_back(
    alphazoo: Alphazoo, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(registry)
    assert "no alias 'champion'" in str(
        alphazoo("predict", "model_uri=models:/mine@champion", DAY).code
    )
    assert "mine has no earlier champion" in str(alphazoo("rollback", "mine").code)
    first = alphazoo("promote", "mine/1", "reason=the first")
    assert "models:/mine@champion is version 1" in first.out
    assert "is the champion already" in str(alphazoo("promote", "mine/1").code)
    refused = str(alphazoo("promote", "mine/2").code)
    assert "mine/2 is worse than the champion, version 1: rank IC" in refused
    assert "force=true promotes it anyway" in refused
    equal = alphazoo("promote", "mine/3", "reason=again")
    assert "new to both" in equal.out
    assert alphazoo("promote", "mine/2", "force=true").code == 0

    table = alphazoo("versions", "mine").out.splitlines()
    assert len(table) == 4
    assert [line.split()[0] for line in table if "champion" in line] == ["2"]

    assert "is version 3" in alphazoo("rollback", "mine", "reason=worse live").out
    assert "is version 1" in alphazoo("rollback", "mine").out
    assert "no earlier champion" in str(alphazoo("rollback", "mine").code)
    from alphazoo.tracking.registry import open_store

    moves = json.loads(open_store()[1].get_registered_model("mine").tags["alphazoo.moves"])
    assert [(move["move"], move["from"], move["to"]) for move in moves] == [
        ("promote", None, "1"),
        ("promote", "1", "3"),
        ("promote", "3", "2"),
        ("rollback", "2", "3"),
        ("rollback", "3", "1"),
    ]
    assert moves[3]["reason"] == "worse live"
    assert all(pd.Timestamp(move["time"]).tz is not None for move in moves)
    assert alphazoo("predict", "model_uri=models:/mine@champion", DAY, "out=1.csv").code == 0
    assert alphazoo("predict", "run=1", DAY, "out=2.csv").code == 0
    assert Path("1.csv").read_text() == Path("2.csv").read_text()


def test_live_metrics_are_those_of_days_new_to_the_version(
    alphazoo: Alphazoo, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(registry)
    days = ("from=2015-05-01", "to=2015-06-30")  # from validation days on
    assert alphazoo("predict", "model_uri=models:/mine/1", *days, "append=live.parquet").code == 0
    table = version_table("mine", scores=Path("live.parquet")).set_index("version")
    metrics = Run.open("1").metrics
    for number in (1, 3):  # the same checkpoint
        found = table.loc[number, ["live/days", "live/ic", "live/rank_ic"]].tolist()
        expected = [metrics[f"test/{name}"] for name in ("days", "ic", "rank_ic")]
        assert found == pytest.approx(expected, rel=1e-5)
    assert table.loc[2, ["live/days", "live/ic"]].isna().all()
    lines = alphazoo("versions", "mine", "scores=live.parquet").out.splitlines()
    assert lines[0].split()[-3:] == ["live/days", "live/ic", "live/rank_ic"]
    shown = [line.split()[0] for line in lines[1:] if f"{metrics['test/ic']:.4f}" in line[-25:]]
    assert shown == ["1", "3"]
    scores = pd.read_parquet("live.parquet")
    scores.assign(checkpoint="other").to_parquet("other.parquet")
    refused = str(alphazoo("versions", "mine", "scores=other.parquet").code)
    assert "other.parquet has no scores that a version of mine gave to days after" in refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["versions"], "expected: alphazoo versions NAME"),
        (["versions", "mine", "data.path=x"], "expected: alphazoo versions NAME [scores=FILE"),
        (["versions", "mine", "scores=no.parquet"], "no file no.parquet: alphazoo predict append="),
        (["versions", "mime"], "no model 'mime' in the registry; did you mean 'mine'?"),
        (["versions", "mine", "tracking_uri=sqlite:///none.db"], "none.db: tracking_uri="),
        (["versions", "mine", "tracking_uri=http://127.0.0.1:9"], "MLflow at http://127.0.0.1:9"),
        (["promote", "mine"], "expected: alphazoo promote NAME/VERSION"),
        (["promote", "mine/9"], "mine has no version 9; available: 1, 2, 3"),
        (["promote", "mine/1", "errors=few"], "errors=few: expected a number"),
        (["rollback"], "expected: alphazoo rollback NAME"),
        (["rollback", "mime"], "no model 'mime' in the registry"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    message: str,
    alphazoo: Alphazoo,
    registry: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(registry)
    assert message in str(alphazoo(*arguments).code)
