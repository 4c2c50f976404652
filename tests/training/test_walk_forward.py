"""Walk forward: every stretch of the test days is scored by a model that knows none of them."""

from functools import wraps
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from conftest import small_config
from omegaconf import DictConfig

import alphazoo.training.run_window
from alphazoo.commands.job import train
from alphazoo.config import instantiate
from alphazoo.errors import InputError
from alphazoo.market.market import Market
from alphazoo.models.checkpoint import read_checkpoint
from alphazoo.runs.run import Run
from alphazoo.serving.predict import predict
from alphazoo.training.fit import FitResult, fit
from alphazoo.training.windows import split_windows

DATES = pd.bdate_range("2010-01-04", "2020-12-31")
SEGMENTS = {"train": [2010, 2014], "valid": ["2015", "2016"], "test": ["2017-01-01", None]}

WALK = [
    "walk_forward=monthly",
    "data.train=['2015-02-01', '2015-03-31']",
    "data.valid=['2015-04-01', '2015-04-30']",
    "data.test=['2015-05-01', null]",
    "model.hidden_size=4",
    "trainer.max_epochs=1",
]


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("walked")
    train(small_config(*WALK, f"folder={folder}"))
    return Run.open(folder)


def windows(run: Run) -> list[Run]:
    return [Run.open(folder) for folder in sorted((run.folder / "windows").iterdir())]


@pytest.mark.parametrize(
    ("rolling", "expected"), [(False, "2010-01-01"), (True, "2013-01-01")], ids=["grows", "rolls"]
)
def test_segments_move_by_the_length_of_a_stretch(rolling: bool, expected: str) -> None:
    found = split_windows(DATES, SEGMENTS, months=12, rolling=rolling, shortest=3)
    assert [cut["test"][0] for cut in found] == [f"{year}-01-01" for year in range(2017, 2021)]
    assert found[-1] == {
        "train": [expected, "2017-12-31"],
        "valid": ["2018-01-01", "2019-12-31"],
        "test": ["2020-01-01", "2020-12-31"],
    }


def test_months_end_when_they_end() -> None:
    segments = {
        "train": [2010, "2015-12-31"],
        "valid": ["2016-01", "2016-02"],
        "test": ["2016-03", 2016],
    }
    found = split_windows(DATES, segments, months=1, rolling=False, shortest=3)
    assert [cut["valid"][1] for cut in found[:3]] == ["2016-02-29", "2016-03-31", "2016-04-30"]
    assert found[-1]["test"] == ["2016-12-01", "2016-12-31"]


@pytest.mark.parametrize(("last", "count"), [("2018-01-02", 1), ("2018-01-03", 2)])
def test_a_last_stretch_that_is_too_short_belongs_to_the_one_before(last: str, count: int) -> None:
    segments = SEGMENTS | {"test": ["2017-01-01", last]}
    found = split_windows(DATES, segments, months=12, rolling=False, shortest=3)
    assert [found[-1]["test"][1], len(found)] == [last, count]


def test_lengths_and_ends_are_checked() -> None:
    with pytest.raises(InputError, match="walk_forward.months must be at least 1, got 0"):
        split_windows(DATES, SEGMENTS, months=0, rolling=False, shortest=3)
    with pytest.raises(InputError, match="both ends of data.valid"):
        split_windows(
            DATES, SEGMENTS | {"valid": [2015, None]}, months=1, rolling=False, shortest=3
        )


def test_a_test_segment_after_the_data_is_refused() -> None:
    later = SEGMENTS | {"test": [2021, None]}
    with pytest.raises(InputError, match=r"data.test=\[2021, null\] has no trading day: .*2020"):
        split_windows(DATES, later, months=1, rolling=False, shortest=3)


def test_the_scores_of_all_stretches_are_one_table_without_gaps(walked: Run) -> None:
    scores = walked.scores
    market = instantiate(walked.config.datamodule.market)()
    assert not scores.duplicated(["date", "symbol"]).any()
    assert scores["date"].unique().tolist() == [*market.dates[market.dates >= "2015-05-01"]]
    compared = pd.read_csv(walked.folder / "windows.csv")
    assert compared["test from"].tolist() == ["2015-05-01", "2015-06-01"]
    assert walked.metrics["val/ic"] == pytest.approx(compared["val/ic"].mean())
    assert walked.metrics["test/days"] == scores["date"].nunique()


def test_no_training_knows_a_day_that_it_is_tested_on(walked: Run) -> None:
    for window in windows(walked):
        days = read_checkpoint(window.checkpoint)["MarketDataModule"]["days"]
        assert days["train"][1] < window.config.data.valid[0]
        assert days["valid"][1] < window.config.data.test[0] == window.folder.name


def test_the_first_stretch_has_the_scores_of_a_run_of_its_own(walked: Run, tmp_path: Path) -> None:
    train(small_config(*WALK, "walk_forward=none", f"folder={tmp_path}"))
    alone = Run.open(tmp_path).scores.query("split == 'test' and date < '2015-06-01'")
    joined = walked.scores[walked.scores["date"] < "2015-06-01"]
    pd.testing.assert_frame_equal(joined, alone.reset_index(drop=True), check_exact=True)


def test_later_prices_do_not_change_earlier_scores(
    walked: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_market = Market.from_synthetic

    @wraps(make_market)
    def changed(**options: Any) -> Market:
        market = make_market(**options)
        later = torch.from_numpy(market.dates >= "2015-06-10")
        for panel in market.fields.values():
            panel[later] *= 1 + torch.rand(panel[later].shape)
        return market

    monkeypatch.setattr(Market, "from_synthetic", staticmethod(changed))
    train(small_config(*WALK, f"folder={tmp_path}"))
    before = walked.scores["date"] < "2015-06-10"
    again, scores = Run.open(tmp_path).scores["score"], walked.scores["score"]
    assert again[before].equals(scores[before])
    assert not again[~before].equals(scores[~before])


def test_a_training_can_start_from_the_weights_of_the_one_before(tmp_path: Path) -> None:
    train(
        small_config(*WALK, "walk_forward.warm_start=true", "model.lr=1e-30", f"folder={tmp_path}")
    )
    first, *_, last = (
        read_checkpoint(window.checkpoint)["state_dict"] for window in windows(Run.open(tmp_path))
    )
    assert all(torch.equal(first[name], last[name]) for name in first)


def test_a_training_starts_from_the_window_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three windows: the third from the second, not from the first."""
    starts: list[str | None] = []

    def watched(config: DictConfig, **options: Any) -> FitResult:
        starts.append(options["start"])
        return fit(config, **options)

    monkeypatch.setattr(alphazoo.training.run_window, "fit", watched)
    walk = [option for option in WALK if "hidden_size" not in option]
    told = ["walk_forward.warm_start=true", "model=linear", "data.n_days=150"]
    train(small_config(*walk, *told, f"folder={tmp_path}"))
    runs = windows(Run.open(tmp_path))
    assert [run.folder.name for run in runs] == ["2015-05-01", "2015-06-01", "2015-07-01"]
    assert starts == [None, *(str(run.checkpoint) for run in runs[:-1])]


def test_prediction_takes_the_newest_training(walked: Run) -> None:
    newest = walked.scores["date"].max()
    scores = predict(walked, date=f"{newest:%Y-%m-%d}")
    known = walked.scores[walked.scores["date"] == newest].reset_index(drop=True)
    pd.testing.assert_frame_equal(scores, known[["date", "symbol", "score"]], check_exact=True)
