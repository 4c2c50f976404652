"""Commands that take something up again, on data that have grown and on data that have changed.

Of a table that grew every test day is scored once; of one with a price that changed nothing is
taken up, and what changed is said in one line.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from conftest import Alphazoo, small_frame
from omegaconf import DictConfig, OmegaConf

from alphazoo.commands.job import train
from alphazoo.config import compose
from alphazoo.errors import InputError
from alphazoo.evaluation.ensemble import write_ensemble
from alphazoo.market.fingerprint import Fingerprint
from alphazoo.market.market import Market
from alphazoo.models.linear import Linear
from alphazoo.runs.replicates import group_replicates
from alphazoo.runs.run import Run
from alphazoo.serving.predict import predict
from alphazoo.training.run_window import _read_finished

DAYS = pd.bdate_range("2015-01-01", periods=140)
OLD = DAYS[129]  # the first of July: a last stretch too short for itself
CHANGED = "close differs, calendar and symbols are the same (from 2015-03 on)"
SETTINGS = [
    *(
        "data=table",
        "data.columns.adjusted_close=null",
        "data.min_stocks=2",
        "backtest=none",
        "features.window=20",
        "report=false",
    ),
    *("trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "trainer.max_epochs=1"),
    *("model=linear", "data.train=['2015-02-01', '2015-03-31']"),
    *("data.valid=['2015-04-01', '2015-04-30']", "data.test=['2015-05-01', null]"),
]


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``old``; ``grown`` by ten days and a stock that is sorted first; ``changed`` in one price."""
    folder = tmp_path_factory.mktemp("tables")
    grown = small_frame(n_days=140)
    old = grown[grown["date"] <= OLD]
    newcomer = grown[(grown["symbol"] == "ST0") & (grown["date"] > OLD)].assign(symbol="AAA")
    one = (old["symbol"] == "ST3") & (old["date"] == "2015-03-10")
    old.to_parquet(folder / "old.parquet")
    pd.concat([grown, newcomer]).to_parquet(folder / "grown.parquet")
    old.assign(close=old["close"].mask(one, old["close"] * 1.01)).to_parquet(
        folder / "changed.parquet"
    )
    return folder


def told(tables: Path, name: str, folder: Path, *more: str) -> DictConfig:
    """A config whose table, always the same file, is one of the three."""
    file = shutil.copy(tables / f"{name}.parquet", tables / "prices.parquet")
    return compose(*SETTINGS, f"data.path={file}", f"folder={folder}", *more)


@pytest.fixture(scope="module")
def ended(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ended") / "run"
    train(told(tables, "old", folder))
    return folder


@pytest.fixture
def run(ended: Path, tmp_path: Path) -> Path:
    """A copy of a run on the old table."""
    return Path(shutil.copytree(ended, tmp_path / "run"))


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: object) -> None:
        raise AssertionError("trained again")

    with monkeypatch.context() as patch:
        patch.setattr(Linear, "training_step", refuse)
        yield


def content(folder: Path) -> dict[str, bytes]:
    files = [file for file in folder.rglob("*") if file.is_file() and file.suffix != ".lock"]
    return {str(file): file.read_bytes() for file in files}


def check_extended(folder: Path, old: pd.DataFrame) -> pd.DataFrame:
    """Every test day is scored once; those that were scored have the same scores."""
    scores = Run.open(folder).scores.query("split == 'test'").reset_index(drop=True)
    assert not scores.duplicated(["date", "symbol"]).any()
    keys = ["date", "symbol"]
    old = old[old["split"] == "test"]
    joined = old.merge(scores, on=keys, suffixes=("_old", ""))
    assert len(joined) == len(old)
    assert joined["score"].equals(joined["score_old"])
    return scores


# train


def test_a_run_on_the_same_data_has_ended(
    tables: Path, run: Path, no_training: None, caplog: pytest.LogCaptureFixture
) -> None:
    before = content(run)
    with caplog.at_level("INFO"):
        train(told(tables, "old", run, "ckpt=last"))
    assert "is already finished" in caplog.text
    assert content(run) == before


def test_a_run_whose_data_have_grown_is_scored_again_without_training(
    tables: Path, run: Path, no_training: None
) -> None:
    old = Run.open(run).scores
    metrics = train(told(tables, "grown", run, "ckpt=last"))
    scores = check_extended(run, old)
    labelled = DAYS[(DAYS >= "2015-05-01") & (DAYS[137] >= DAYS)]  # the return takes two days
    assert scores["date"].unique().tolist() == [*labelled]
    assert metrics["test/days"] == len(labelled)
    assert Run.open(run).provenance["data"]["last"] == f"{DAYS[-1]:%Y-%m-%d}"
    assert (scores["symbol"] == "AAA").sum() == 8


@pytest.mark.parametrize("state", ["ended", "stopped", "elsewhere"])
def test_a_run_whose_data_have_changed_is_refused(
    tables: Path, run: Path, tmp_path: Path, state: str
) -> None:
    config = told(tables, "changed", run, "ckpt=last", "trainer.max_epochs=2")
    if state == "ended":
        config = told(tables, "changed", run, "ckpt=last")
    elif state == "elsewhere":
        file = shutil.move(run / "checkpoints" / "last.ckpt", tmp_path / "moved.ckpt")
        config = told(tables, "changed", tmp_path / "other", f"ckpt={file}")
    before = content(run)
    with pytest.raises(InputError, match=re.escape(CHANGED)) as error:
        train(config)
    assert "\n" not in str(error.value)
    assert "made on other data" in str(error.value)
    assert content(run) == before
    assert not (tmp_path / "other" / "config.yaml").exists()


def test_a_checkpoint_that_does_not_know_its_data_is_a_warning(
    tables: Path, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    facts = json.loads((run / "provenance.json").read_text())
    del facts["data"]["parts"]
    (run / "provenance.json").write_text(json.dumps(facts))
    train(told(tables, "changed", run, "ckpt=last"))
    assert "run does not record its data" in caplog.text


# walk forward


WALK = ["walk_forward=monthly"]


@pytest.fixture(scope="module")
def walked(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("walked") / "run"
    train(told(tables, "old", folder, *WALK))
    return folder


@pytest.mark.thorough
def test_a_walk_forward_on_a_table_that_grew_is_that_of_the_whole_table(
    tables: Path, walked: Path, tmp_path: Path
) -> None:
    """Two windows, of which the second loses its day in July to a third."""
    folder = Path(shutil.copytree(walked, tmp_path / "run"))
    old = Run.open(folder).scores
    train(told(tables, "grown", folder, *WALK, "ckpt=last"))
    train(told(tables, "grown", tmp_path / "whole", *WALK))
    assert old["date"].nunique() == 44
    whole, again = Run.open(tmp_path / "whole"), Run.open(folder)
    assert again.scores["date"].unique().tolist() == [*DAYS[DAYS >= "2015-05-01"]]
    pd.testing.assert_frame_equal(again.scores, whole.scores, check_exact=True)
    assert again.metrics == whole.metrics
    assert again.provenance["data"] == whole.provenance["data"]
    first, second = (
        folder / "windows" / f"2015-0{month}-01" / "provenance.json" for month in (5, 6)
    )
    assert json.loads(first.read_text())["data"]["last"] == f"{OLD:%Y-%m-%d}"  # not scored again
    assert json.loads(second.read_text())["data"]["last"] == f"{DAYS[-1]:%Y-%m-%d}"


def test_windows_that_have_ended_are_not_trained_again(
    tables: Path, walked: Path, tmp_path: Path, no_training: None
) -> None:
    folder = Path(shutil.copytree(walked, tmp_path / "run"))
    old = Run.open(folder).scores
    with pytest.raises(AssertionError, match="trained again"):  # the third window
        train(told(tables, "grown", folder, *WALK, "ckpt=last"))
    rows = pd.read_parquet(folder / "windows" / "2015-06-01" / "rows.parquet")
    june = rows[rows["split"] == "test"]
    assert june["date"].unique().tolist() == [*DAYS[DAYS.month == 6]]
    joined = june.merge(old, on=["date", "symbol"], suffixes=("", "_old"))
    assert joined["score"].tolist() == joined["score_old"].tolist()
    assert june["return"].isna().sum() == 0


def test_a_window_is_taken_as_it_is_if_it_scored_the_days_asked_for(
    tables: Path, walked: Path
) -> None:
    """Else a last stretch that loses its days to the next would score them, too."""
    told(tables, "old", walked)
    config = Run.open(walked / "windows" / "2015-05-01").config
    market = Market.from_table(config.data.path, columns={})
    taken = [
        _read_finished(config, market, market.rows("2015-05-01", last))
        for last in ("2015-05-29", "2015-05-28", "2015-06-01")
    ]
    assert [found is not None for found in taken] == [True, False, False]


def test_returns_that_were_unknown_are_taken_up(tables: Path, tmp_path: Path) -> None:
    """Days whose return is known later only: those before the old last day, of a closed segment."""
    closed = ["data.test=['2015-05-01', '2015-07-01']", *WALK]
    train(told(tables, "old", tmp_path, *closed))
    unknown = Run.open(tmp_path).scores.query("date >= '2015-06-30'")["return"]
    train(told(tables, "grown", tmp_path, *closed, "ckpt=last"))
    known = Run.open(tmp_path).scores.query("date >= '2015-06-30'")["return"]
    assert (unknown.isna().sum(), known.isna().sum(), len(unknown)) == (16, 0, len(known))


def test_a_walk_forward_on_other_prices_is_refused(
    tables: Path, walked: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(walked, tmp_path / "run"))
    before = content(folder)
    (folder / "metrics.json").unlink()  # stopped, or ended
    for _ in range(2):
        with pytest.raises(InputError, match=re.escape(CHANGED)):
            train(told(tables, "changed", folder, *WALK, "ckpt=last"))
        (folder / "metrics.json").write_bytes(before[str(folder / "metrics.json")])
    assert content(folder) == before


# sweeps


def set_table(tables: Path, name: str) -> None:
    shutil.copy(tables / f"{name}.parquet", "prices.parquet")


def last_days(folder: Path) -> list[str]:
    runs = [Run.open(file.parent) for file in sorted(folder.glob("*/scores.parquet"))]
    return [f"{run.scores['date'].max():%Y-%m-%d}" for run in runs]


def epochs(folder: Path) -> list[int]:
    files = sorted(folder.glob("*/logs/metrics.csv"))
    return [len(pd.read_csv(file)["train/loss"].dropna()) for file in files]


@pytest.mark.parametrize("kind", ["grid", "benchmark"])
@pytest.mark.thorough
def test_a_sweep_extends_what_grew_and_refuses_what_changed(
    kind: str, tables: Path, alphazoo: Alphazoo, tmp_path: Path
) -> None:
    command = ["train", "-m", *SETTINGS, "data.path=prices.parquet", "hydra.sweep.dir=sweep"]
    if kind == "benchmark":
        settings = [text for text in SETTINGS if not text.startswith("model=")]
        command = ["benchmark", *settings, "data.path=prices.parquet", "out=sweep", "model=tcn"]
        command += ["model.hidden_size=4", "model.num_layers=1", "budget=1"]
    command.append("seed=1,2" if kind == "grid" else "seed=1")
    n_jobs = 2 if kind == "grid" else 1
    set_table(tables, "old")
    assert alphazoo(*command).code == 0
    assert last_days(tmp_path / "sweep") == [f"{DAYS[127]:%Y-%m-%d}"] * n_jobs
    set_table(tables, "grown")
    result = alphazoo(*command)
    assert result.code == 0
    assert last_days(tmp_path / "sweep") == [f"{DAYS[137]:%Y-%m-%d}"] * n_jobs
    assert epochs(tmp_path / "sweep") == [1] * n_jobs  # none was trained again
    table = pd.read_parquet(tmp_path / "sweep" / f"{'sweep' if kind == 'grid' else kind}.parquet")
    assert len({*table["fingerprint"]}) == 1
    before = content(tmp_path / "sweep")
    assert alphazoo(*command).code == 0
    after = content(tmp_path / "sweep")
    statuses = [name for name in before if name.endswith(("status.json", "scores.parquet"))]
    assert [before[name] for name in statuses] == [after[name] for name in statuses]
    set_table(tables, "changed")
    code = str(alphazoo(*command).code)
    assert "the data have changed since sweep/" in code
    assert "the data covered 2015-01-01 to 2015-07-15, now they cover" in code
    assert "\n" not in code


def test_jobs_whose_test_days_are_over_are_left_alone(
    tables: Path, alphazoo: Alphazoo, tmp_path: Path
) -> None:
    closed = "data.test=['2015-05-01', '2015-06-15']"
    command = ["train", "-m", *SETTINGS, closed, "data.path=prices.parquet", "seed=1"]
    command.append("hydra.sweep.dir=sweep")
    set_table(tables, "old")
    assert alphazoo(*command).code == 0
    status = (tmp_path / "sweep" / "0" / "status.json").read_bytes()
    set_table(tables, "grown")
    assert alphazoo(*command).code == 0
    assert (tmp_path / "sweep" / "0" / "status.json").read_bytes() == status


@pytest.mark.thorough
def test_a_search_on_other_data_is_refused(tables: Path, alphazoo: Alphazoo) -> None:
    pytest.importorskip("optuna", minversion="4.9")
    command = ["train", "-m", *SETTINGS, "data.path=prices.parquet", "hydra.sweep.dir=sweep"]
    command += ["hydra/sweeper=optuna", "model.lr=1e-3,1e-2"]
    set_table(tables, "old")
    assert alphazoo(*command, "hydra.sweeper.n_trials=1").code == 0
    set_table(tables, "grown")
    result = alphazoo(*command, "hydra.sweeper.n_trials=1")
    assert "1 trials were scored before the data grew" in result.out
    set_table(tables, "changed")
    result = alphazoo(*command, "hydra.sweeper.n_trials=2")
    assert f"the data have changed since sweep/search-0 (in market 'prices' {CHANGED}" in (
        str(result.code)
    )


# compare, ensemble, predict


def made_on(tables: Path, name: str, folder: Path, *, seed: int = 0, model: str = "linear") -> Run:
    """The folder of a run as far as groups are made of it."""
    folder.mkdir()
    config = told(tables, "old", folder, f"seed={seed}", f"model={model}")
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(config))
    market = Market.from_table(str(tables / f"{name}.parquet"), columns={})
    data = {**Fingerprint(market).record, "concepts": None}
    (folder / "provenance.json").write_text(json.dumps({"data": data}))
    return Run.open(folder)


def test_compare_averages_runs_on_the_same_data_alone(tables: Path, tmp_path: Path) -> None:
    same = [made_on(tables, "old", tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    assert [*map(len, group_replicates(same).values())] == [2]
    for name in ("changed", "grown"):
        other = made_on(tables, name, tmp_path / name, seed=2)
        groups = group_replicates([*same, other])
        prints = [run.provenance["data"]["fingerprint"][:8] for run in (same[0], other)]
        end = "2015-07-15" if name == "grown" else "2015-07-01"
        assert groups == {
            f"Linear on old to 2015-07-01 ({prints[0]})": same,
            f"Linear on {name} to {end} ({prints[1]})": [other],
        }
    model = made_on(tables, "changed", tmp_path / "gru", model="gru")
    assert all("(" in str(key) for key in group_replicates([same[0], model]))


def test_compare_tells_concepts_apart(tables: Path, tmp_path: Path) -> None:
    runs = [made_on(tables, "old", tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    facts = runs[1].provenance
    facts["data"]["concepts"] = "c0de" * 4
    (runs[1].folder / "provenance.json").write_text(json.dumps(facts))
    assert [*group_replicates(runs)] == ["Linear concepts=None", "Linear concepts=c0dec0de"]


def test_an_ensemble_is_of_runs_on_data_that_are_the_same(
    tables: Path, run: Path, tmp_path: Path
) -> None:
    second = tmp_path / "second"
    train(told(tables, "grown", second, "seed=1"))
    runs = [Run.open(run), Run.open(second)]
    write_ensemble(tmp_path / "both", runs, by="rank")
    both = Run.open(tmp_path / "both")
    assert both.scores["date"].max() == DAYS[127]
    assert both.provenance["data"]["last"] == f"{DAYS[-1]:%Y-%m-%d}"
    copy = Run.open(shutil.copytree(run, tmp_path / "copy"))
    told(tables, "changed", run)
    with pytest.raises(InputError, match=f"{re.escape(CHANGED)}; an ensemble needs runs on the sa"):
        write_ensemble(tmp_path / "none", [runs[0], copy], by="rank")
    assert not (tmp_path / "none").exists()


def test_a_prediction_warns_of_a_past_that_changed(
    tables: Path, ended: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run.open(ended)
    known = run.scores["score"][run.scores["date"] == pd.Timestamp("2015-05-20")]
    for name in ("old", "grown", "changed"):
        told(tables, name, ended)
        scores = predict(run, date="2015-05-20")
        assert (CHANGED in caplog.text) == (name == "changed")
        if name != "changed":
            assert scores["score"].tolist() == known.tolist()
