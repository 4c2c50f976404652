"""Averages of runs: on the days and stocks that all have, day by day, in milliseconds."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import small_config
from omegaconf import open_dict

from alphazoo.commands.job import train
from alphazoo.evaluation.compare import _mean_ic, _mean_value
from alphazoo.evaluation.ensemble import average_scores, write_ensemble
from alphazoo.metrics import daily_ic
from alphazoo.runs.replicates import group_replicates, name_model
from alphazoo.runs.run import Run

DATES = pd.bdate_range("2020-01-01", periods=4)


def write_run(folder: Path, rows: pd.DataFrame) -> Run:
    folder.mkdir()
    rows.to_parquet(folder / "scores.parquet")
    return Run(folder, small_config())


def rows(seed: int, n_stocks: int = 6) -> pd.DataFrame:
    """Two validation and two test days; the returns are the same for every seed."""
    random, same = np.random.default_rng(seed), np.random.default_rng(99)
    size = len(DATES) * n_stocks
    return pd.DataFrame(
        {
            "date": np.repeat(DATES, n_stocks),
            "symbol": np.tile([f"S{i}" for i in range(n_stocks)], len(DATES)),
            "split": np.repeat(["valid", "test"], size // 2),
            "score": random.standard_normal(size) * np.repeat([1, 10, 100, 1000], n_stocks),
            "return": same.standard_normal(size),
        }
    )


def standard(scores: "pd.Series[float]") -> "pd.Series[float]":
    return (scores - scores.mean()) / scores.std()


@pytest.mark.parametrize("by", ["rank", "zscore"])
def test_only_rows_that_every_run_has_are_averaged(by: str, tmp_path: Path) -> None:
    """The first lacks a row, the second another, the third a day."""
    tables = [rows(seed) for seed in range(3)]
    tables[0] = tables[0].drop(index=[3])
    tables[1] = tables[1].drop(index=[8])
    tables[2] = tables[2][tables[2]["date"] != DATES[3]]
    runs = [write_run(tmp_path / str(i), table) for i, table in enumerate(tables)]
    found = average_scores(runs, by).set_index(["date", "symbol"])
    keyed = [table.set_index(["date", "symbol"]) for table in tables]
    common = keyed[0].index.intersection(keyed[1].index).intersection(keyed[2].index)
    assert set(found.index) == set(common)
    assert len(found) == 24 - 2 - 6
    scaled = [
        table.loc[common, "score"]
        .groupby("date")
        .transform((lambda day: day.rank(pct=True)) if by == "rank" else standard)
        for table in keyed
    ]
    expected = sum(scaled) / 3
    np.testing.assert_allclose(found["score"], expected.loc[found.index])
    np.testing.assert_array_equal(found["return"], keyed[1].loc[found.index, "return"])
    assert found["split"].tolist() == keyed[0].loc[found.index, "split"].tolist()


def test_equal_scores_of_a_day_count_as_nothing(tmp_path: Path) -> None:
    """One run says nothing of a day; by z-score the average there is half of the other's."""
    ours, other = rows(0), rows(1)
    other.loc[other["date"] == DATES[1], "score"] = 7.0
    runs = [write_run(tmp_path / str(i), table) for i, table in enumerate((ours, other))]
    found = average_scores(runs, "zscore").set_index("date").loc[DATES[1], "score"]
    np.testing.assert_allclose(found, standard(ours[ours["date"] == DATES[1]]["score"]) / 2)


def test_curves_of_a_comparison_are_means_over_runs(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / str(seed), rows(seed)) for seed in range(2)]
    daily = [daily_ic(rows(seed)[12:])["ic"] for seed in range(2)]
    expected = ((daily[0] + daily[1]) / 2).cumsum()
    pd.testing.assert_series_equal(_mean_ic(runs), expected, check_names=False)
    assert _mean_value(runs) is None
    for run, earned in zip(runs, (0.02, 0.04), strict=True):
        days = {"date": DATES, "return": earned, "cost": 0.001, "benchmark": 0.01}
        pd.DataFrame(days).to_parquet(run.folder / "backtest.parquet")
    curve = _mean_value(runs)
    assert curve is not None
    assert curve.tolist() == pytest.approx([0.019, 0.038, 0.057, 0.076])


def ensemble(*models: str, by: str = "rank") -> Run:
    config = small_config()
    with open_dict(config):
        config.ensemble = {"by": by, "runs": [str(i) for i in range(len(models))]}
        if all(models):
            config.ensemble.models = [*models]
    return Run(Path("all"), config)


def test_an_ensemble_is_named_by_its_members() -> None:
    """Its config is that of its first member, whose model says nothing of the others."""
    assert name_model(ensemble("LightGBM", "GRU", "GRU", "LSTM")) == (
        "rank ensemble of 2 x GRU, LSTM, LightGBM"
    )
    assert name_model(ensemble("GRU", "GRU", by="zscore")) == "zscore ensemble of 2 x GRU"
    assert name_model(ensemble("", "")) == "rank ensemble of 2 runs"  # of an earlier version


def test_ensembles_of_other_models_are_no_replicates(tmp_path: Path) -> None:
    runs = [ensemble("GRU", "LSTM"), ensemble("GRU", "GATs"), Run(tmp_path, small_config())]
    assert [*group_replicates(runs)] == [
        "rank ensemble of GRU, LSTM",
        "rank ensemble of GATs, GRU",
        "GRU",
    ]


def test_models_that_read_other_indices_are_averaged(tmp_path: Path) -> None:
    runs = []
    for indices in ("[]", "[MARKET]"):
        folder = tmp_path / indices
        short = ["model=linear", "trainer.max_epochs=1", "report=false"]
        train(small_config(*short, f"data.indices={indices}", f"folder={folder}"))
        runs.append(Run.open(folder))
    for members in (runs, runs[::-1]):
        write_ensemble(tmp_path / "both", members, by="rank")
    assert len(Run.open(tmp_path / "both").scores) == len(runs[0].scores)
