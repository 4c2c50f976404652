"""Scores of the newest day by a finished run: the same as in the run, and no stale ones."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from conftest import MODELS, SEGMENTS, SMALL, Alphazoo, model_overrides, small_frame

from alphazoo.commands.job import train
from alphazoo.config import compose
from alphazoo.errors import InputError
from alphazoo.market.market import Market
from alphazoo.runs.run import Run
from alphazoo.serving.load import load_run
from alphazoo.serving.predict import newest_day, predict
from alphazoo.serving.score_file import read_score_file

ONE_EPOCH = [
    "features.window=20",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=1",
]


def trained(folder: Path, *overrides: str) -> Run:
    settings = SMALL if "data=table" not in overrides else SEGMENTS
    train(compose(*settings, *overrides, *ONE_EPOCH, f"folder={folder}"))
    return Run.open(folder)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.thorough
def test_a_day_has_the_scores_that_the_run_gave_it(name: str, tmp_path: Path) -> None:
    quick = ["++trainer.limit_train_batches=2", "+trainer.limit_val_batches=2"]
    run = trained(tmp_path, *model_overrides(name, hidden_size=4, feedforward_size=16), *quick)
    test = run.scores.query("split == 'test'")
    days = {"first": f"{test.date.min():%Y-%m-%d}", "last": f"{test.date.max():%Y-%m-%d}"}
    for dates in (days, {"date": days["last"]}):
        scores = predict(run, **dates)
        known = test[test["date"].isin(scores["date"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(scores, known[["date", "symbol", "score"]], check_exact=True)


def test_a_source_that_has_grown_gives_its_newest_day(tmp_path: Path) -> None:
    """Ten days later, with a stock that did not exist before and is sorted first."""
    today = pd.Timestamp.today().normalize()
    grown = small_frame(n_days=140)
    grown["date"] += today - grown["date"].max()
    dates = pd.DatetimeIndex(sorted(grown["date"].unique()))
    table = tmp_path / "prices.parquet"
    grown[grown["date"] <= dates[129]].to_parquet(table)
    cuts = [f"{dates[row]:%Y-%m-%d}" for row in (20, 70, 71, 90, 91)]
    run = trained(
        tmp_path / "run",
        "data=table",
        "data.min_stocks=2",
        f"data.path={table}",
        f"data.train=['{cuts[0]}', '{cuts[1]}']",
        f"data.valid=['{cuts[2]}', '{cuts[3]}']",
        f"data.test=['{cuts[4]}', null]",
        "model.hidden_size=4",
    )
    newcomer = grown[(grown["symbol"] == "ST0") & (grown["date"] > dates[129])]
    pd.concat([grown, newcomer.assign(symbol="AAA")]).to_parquet(table)
    newest = predict(run)
    assert newest["date"].unique().tolist() == [today]
    assert newest["symbol"].tolist() == ["AAA", *(f"ST{i}" for i in range(8))]
    test = run.scores.query("split == 'test'").reset_index(drop=True)
    again = predict(run, first=cuts[4], last=f"{test.date.max():%Y-%m-%d}")
    pd.testing.assert_frame_equal(again, test[["date", "symbol", "score"]], check_exact=True)


def market_until(frame: pd.DataFrame, days_ago: int, indices: Sequence[str] = ()) -> Market:
    last = pd.Timestamp.today().normalize() - pd.Timedelta(days=days_ago)
    dates = frame["date"] + (last - frame["date"].max())
    return Market.from_table(frame.assign(date=dates), indices=indices)


def test_the_newest_day_must_be_of_use(frame: pd.DataFrame) -> None:
    assert newest_day(market_until(frame, 12)) == 129
    with pytest.raises(InputError, match="13 days ago: are the data up to date"):
        newest_day(market_until(frame, 13))
    last = frame["date"] == frame["date"].max()
    half = frame.assign(volume=frame["volume"].where(~last | (frame["symbol"] > "ST3"), 0))
    with pytest.raises(InputError, match="4 of 8 members .* have a price: is the day complete"):
        newest_day(market_until(half, 0))
    before = frame[frame["date"] == sorted(frame["date"].unique())[-2]]
    repeated = pd.concat([frame[~last], before.assign(date=frame["date"].max())])
    with pytest.raises(InputError, match="every price .* repeats the previous day's"):
        newest_day(market_until(repeated, 0))
    late = frame[~last | (frame["symbol"] != "ST7")]
    assert newest_day(market_until(late, 0, ["ST6"])) == 129
    with pytest.raises(InputError, match="no close of ST7 .data.indices. .*: is the day complete"):
        newest_day(market_until(late, 0, ["ST6", "ST7"]))


def test_predict_writes_and_prints_a_ranking(alphazoo: Alphazoo, tmp_path: Path) -> None:
    alphazoo("train", *SMALL, "model.hidden_size=4", "hydra.run.dir=out")
    result = alphazoo("predict", "run=out", "date=2015-06-30")
    assert "2015-06-30, 11 stocks" in result.out
    scores = pd.read_parquet(tmp_path / "out" / "predictions" / "2015-06-30.parquet")
    best = scores.loc[scores["score"].idxmax(), "symbol"]
    assert re.search(rf"^1 +{best} ", result.out, re.MULTILINE)
    assert alphazoo("predict", "run=out", "from=2015-06", "to=2015-06", "out=june.csv").code == 0
    june = pd.read_csv(tmp_path / "june.csv", parse_dates=["date"])
    assert list(june.columns) == ["date", "symbol", "score"]
    assert june["date"].nunique() == 22
    several = ["trainer.strategy=ddp", "trainer.devices=2", "trainer.num_nodes=2"]
    assert alphazoo("predict", "run=out", "date=2015-06-30", *several, "out=one.csv").code == 0
    assert pd.read_csv(tmp_path / "one.csv")["score"].tolist() == pytest.approx(scores["score"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected: alphazoo predict run=FOLDER"),
        (["run=nowhere"], "nowhere is not the folder of a run: it has no config.yaml"),
        (["run=out"], "days ago: are the data up to date"),
        (["run=out", "date=2015-06"], "date must be one day, YYYY-MM-DD, got 2015-06"),
        (["run=out", "date=2035-06-01"], "no trading day from 2035-06-01 to 2035-06-01"),
        (["run=out", "date=soon"], "date: 'soon' is not a date: expected YYYY-MM-DD"),
        (["run=out", "date=2015-06-30", "to=2015-07"], "expected either date or from and to"),
        (["run=out", "date=2015-06-30", "features.window=10"], "made with features.window=20"),
        (["run=out", "data.pth=x"], "unknown config key 'data.pth'; did you mean 'data.test'"),
        (["run=out", "data=table"], "data=table: this config is already composed"),
        (["run=out", "date=2015-06-30", "out=x.xls"], ".parquet or .csv files, got x.xls"),
        (["run=out", "date=2015-06-30", "append=x.csv"], "x.csv: expected a .parquet file"),
        (["run=out", "append=x.parquet", "rewrite=yes"], "rewrite=yes: expected true or false"),
        (["run=out", "append=out/scores.parquet"], "out is the folder of a run"),
        (["run=out", "precision=bf16"], "unknown precision 'bf16'"),
    ],
)
def test_what_cannot_be_scored_is_one_line(
    arguments: list[str],
    message: str,
    alphazoo: Alphazoo,
    finished: Path,
) -> None:
    Path("out").symlink_to(finished)
    result = alphazoo("predict", *arguments)
    assert message in str(result.code)


def test_a_daily_command_may_run_twice(alphazoo: Alphazoo, finished: Path, tmp_path: Path) -> None:
    shared = ["predict", f"run={finished}", "append=live.parquet", "version=v1"]
    assert "live.parquet: days 1 added" in alphazoo(*shared, "date=2015-06-29").out
    assert "live.parquet: days 1 unchanged" in alphazoo(*shared, "date=2015-06-29").out
    assert "days 1 added, 1 unchanged" in alphazoo(*shared, "from=2015-06-29", "to=2015-06-30").out
    table = read_score_file(tmp_path / "live.parquet")
    run = Run.open(finished)
    known = predict(run, first="2015-06-29", last="2015-06-30")
    pd.testing.assert_frame_equal(table[["date", "symbol", "score"]], known)
    assert set(table["version"]) == {"v1"}
    assert set(table["checkpoint"]) == {load_run(run).digest}
    assert table.groupby("date")["data"].nunique().tolist() == [1, 1]
    assert table["data"].nunique() == 2

    other = ["data.seed=7", "date=2015-06-30"]  # another past, in all keys that refer to the seed
    told = "other scores of version 'v1' for 2015-06-30: other settings, other data"
    assert told in str(alphazoo(*shared, *other).code)
    assert "days 1 replaced" in alphazoo(*shared, *other, "rewrite=true").out
    assert "days 1 added" in alphazoo(*shared[:3], *other).out
    versions = set(read_score_file(tmp_path / "live.parquet")["version"])
    assert versions == {"v1", finished.name}


def test_bfloat16_ranks_stocks_alike(alphazoo: Alphazoo, finished: Path, tmp_path: Path) -> None:
    shared = ["predict", f"run={finished}", "from=2015-06"]
    assert alphazoo(*shared, "out=float32.parquet").code == 0
    assert alphazoo(*shared, "out=bf16.parquet", "precision=bf16-mixed").code == 0
    exact, rough = (pd.read_parquet(tmp_path / f"{x}.parquet") for x in ("float32", "bf16"))
    assert not exact["score"].equals(rough["score"])
    assert exact["score"].corr(rough["score"], method="spearman") > 0.99


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    return trained(folder, "model.hidden_size=4").folder


def test_a_run_without_checkpoint_is_named(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text((finished / "config.yaml").read_text())
    with pytest.raises(InputError, match="has no checkpoints/best.ckpt: did the run end"):
        predict(Run.open(tmp_path), date="2015-06-30")
