"""Metrics against scipy and pandas, with ties, NaN, constants, single stocks, two processes."""

import socket
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist
from processes import finish, start
from scipy import stats

from alphazoo.data.days import DayBatch
from alphazoo.errors import DivergedError
from alphazoo.evaluation.ensemble import average
from alphazoo.evaluation.signals import t_statistic
from alphazoo.metrics import ScoreTable, daily_ic, summary
from alphazoo.models.base import StockModel


def random_table(n_days: int = 30, n_stocks: int = 40, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    size = n_days * n_stocks
    table = pd.DataFrame(
        {
            "date": np.repeat(np.arange(n_days), n_stocks),
            "score": random.standard_normal(size).round(1),  # with ties
            "return": random.standard_normal(size).round(1),
            "label": random.standard_normal(size),
        }
    )
    table.loc[random.random(size) < 0.1, "return"] = np.nan
    table.loc[random.random(size) < 0.05, "score"] = np.nan
    return table.sample(frac=1, random_state=seed)


def test_daily_ic_agrees_with_scipy() -> None:
    table = random_table()
    daily = daily_ic(table)
    assert len(daily) == 30
    for date, rows in table.groupby("date"):
        known = rows.dropna(subset=["score", "return"])
        assert daily.loc[date, "stocks"] == len(known)
        pearson = stats.pearsonr(known["score"], known["return"]).statistic
        spearman = stats.spearmanr(known["score"], known["return"]).statistic
        assert daily.loc[date, "ic"] == pytest.approx(pearson, abs=1e-12)
        assert daily.loc[date, "rank_ic"] == pytest.approx(spearman, abs=1e-12)


@pytest.mark.parametrize("column", ["score", "return"])
@pytest.mark.parametrize("scale", [1e-310, 1e-300, 1e-155, 1e155, 1e300, -1e300])
def test_ic_does_not_depend_on_the_scale(column: str, scale: float) -> None:
    """float64 holds neither the squares of 1e155 and 1e-300 nor sums of 1e308."""
    table = random_table()
    table["score"] = np.random.default_rng(1).standard_normal(len(table))
    scaled = table.assign(**{column: table[column] * scale})
    tolerance = 1e-12 if abs(scale) > 1e-308 else 1e-10  # denormal numbers have fewer digits
    for name in ("ic", "rank_ic"):
        expected = daily_ic(table)[name] * np.sign(scale)
        np.testing.assert_allclose(daily_ic(scaled)[name], expected, rtol=0, atol=tolerance)
    assert summary(scaled.drop(columns="label"))["icir"] == pytest.approx(
        summary(table)["icir"] * np.sign(scale), rel=1e-9
    )


def test_ic_of_a_day_of_large_and_small_scores_agrees_with_scipy() -> None:
    returns = [0.3, 0.1, -0.2, 0.4, 0.25]
    days = {
        1e300: [1e300, 1e-300, -1e300, 1.7e308, 5e299],
        1e-310: [3e-310, 1e-310, -2e-310, 0.0, 5e-324],
        1.0: [1e155, -1e155, 1e154, 3e155, 0.0],
    }
    daily = daily_ic(toy(*((scores, returns) for scores in days.values())))
    for (unit, scores), found in zip(days.items(), daily["ic"], strict=True):
        small = np.array(scores) / unit / (1e155 if unit == 1 else 1)
        assert found == pytest.approx(stats.pearsonr(small, returns).statistic, abs=1e-12)
    assert daily["rank_ic"][0] == pytest.approx(1)  # the scores are in the order of the returns


def test_infinite_scores_do_not_count_beside_large_ones() -> None:
    daily = daily_ic(toy(([1e300, np.inf, -1e300, 2e299], [1.0, 9.0, 2.0, 4.0])))
    expected = stats.pearsonr([1, -1, 0.2], [1.0, 2, 4]).statistic
    assert (daily["stocks"][0], daily["ic"][0]) == (3, pytest.approx(expected, abs=1e-12))


@pytest.mark.parametrize("scale", [1e-300, 1e155, 1e300])
def test_t_statistics_and_averages_do_not_depend_on_the_scale(scale: float) -> None:
    random = np.random.default_rng(0)
    series = random.standard_normal(50)
    assert t_statistic(series * scale, 3) == pytest.approx(t_statistic(series, 3), rel=1e-12)
    index = pd.MultiIndex.from_product([range(5), [*"ABCD"]], names=["date", "symbol"])
    scores = pd.DataFrame(random.standard_normal((20, 2)), index=index)
    expected = scores.groupby(level="date").transform(lambda x: (x - x.mean()) / x.std())
    for given in (scores, scores * [1, scale]):
        found = average(given, "zscore")
        np.testing.assert_allclose(found, expected.mean(axis=1), rtol=1e-10)


def test_scores_of_equal_size_up_to_the_last_bit_have_an_ic() -> None:
    scores = 2.0**27 * (1 + np.arange(4) * np.finfo(float).eps)
    found = daily_ic(toy(([*scores], [1.0, 2, 3, 4])))["ic"][0]
    assert found == pytest.approx(1)


def test_summary_agrees_with_pandas() -> None:
    table = random_table()
    days = table.groupby("date")
    ic = days.apply(lambda rows: rows["score"].corr(rows["return"]))
    loss = days.apply(lambda rows: ((rows["score"] - rows["label"]) ** 2).mean()).mean()
    figures = summary(table)
    assert figures["ic"] == pytest.approx(ic.mean())
    assert figures["icir"] == pytest.approx(ic.mean() / ic.std())
    assert figures["loss"] == pytest.approx(loss)
    assert (figures["days"], figures["undefined_days"]) == (30, 0)


def toy(*days: tuple[list[float], list[float]]) -> pd.DataFrame:
    rows = [
        (date, score, value)
        for date, (scores, returns) in enumerate(days)
        for score, value in zip(scores, returns, strict=True)
    ]
    return pd.DataFrame(rows, columns=["date", "score", "return"])


def test_undefined_days_are_counted_and_left_out() -> None:
    good = ([1.0, 2, 3], [1.0, 2, 4])
    undefined = [
        ([0.1, 0.1, 0.1], [1.0, 2, 3]),  # constant scores, whose rounded mean is not 0.1
        ([1.0, 2, 3], [0.3, 0.3, 0.3]),
        ([1.0], [1.0]),
        ([1.0, np.nan], [1.0, 2]),
        ([np.inf, 1.0], [1.0, 2]),
    ]
    figures = summary(toy(good, *undefined))
    assert (figures["days"], figures["undefined_days"]) == (6, 5)
    assert figures["ic"] == pytest.approx(stats.pearsonr(*good).statistic)
    assert figures["rank_ic"] == pytest.approx(1.0)
    assert np.isnan(figures["icir"])  # one day has no standard deviation


def test_nothing_defined_gives_nan() -> None:
    figures = summary(toy(([1.0, 1], [1.0, 2])))
    assert np.isnan(figures["ic"])
    assert figures["undefined_days"] == 1


def test_perfect_and_opposite_scores() -> None:
    assert summary(toy(([1.0, 2, 3], [2.0, 4, 6]), ([1.0, 2], [1.0, 2])))["ic"] == 1.0
    assert summary(toy(([3.0, 2, 1], [2.0, 4, 6]), ([2.0, 1], [1.0, 2])))["rank_ic"] == -1.0


def make_day(row: int, n_stocks: int = 5) -> DayBatch:
    random = torch.Generator().manual_seed(row)
    values = torch.randn(2, n_stocks, generator=random)
    return DayBatch(
        features=torch.empty(n_stocks, 1, 1),
        labels=values[0],
        returns=values[1],
        stocks=torch.arange(n_stocks) * 2,
        concepts=torch.empty(n_stocks, 0),
        date=torch.tensor(row),
        market=torch.empty(0),
    )


def score(day: DayBatch) -> torch.Tensor:
    return day.returns + day.labels


def test_a_repeated_day_counts_once() -> None:
    once, twice = ScoreTable(), ScoreTable()
    for row in (0, 1, 2):
        once.update(make_day(row), score(make_day(row)))
    for row in (2, 0, 1, 0):
        twice.update(make_day(row), score(make_day(row)))
    pd.testing.assert_frame_equal(once.compute(), twice.compute())


def test_half_precision_scores_are_kept_as_float32() -> None:
    table = ScoreTable()
    table.update(make_day(0), score(make_day(0)).bfloat16())
    assert table.compute()["score"].dtype == np.float32


class Double(StockModel):
    """Scores in float64."""

    def forward(self, day: DayBatch) -> torch.Tensor:
        return day.returns.double() * 1e300


def test_scores_beyond_float32_are_an_error_not_an_infinite_row() -> None:
    model = Double(lr=0.1, weight_decay=0.0)
    model.trainer = L.Trainer(logger=False, enable_checkpointing=False)
    with pytest.raises(DivergedError, match="scores are not finite"):
        model.test_step(make_day(0), 0)


def test_no_day_is_an_error() -> None:
    with pytest.raises(ValueError, match="no day was scored"):
        ScoreTable().compute()


def _score_a_share(rank: int, port: int, folder: Path) -> None:
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", world_size=2, rank=rank)
    table = ScoreTable()
    for row in range(rank, 5, 2):  # rank 0 has three days, rank 1 two and a repeated one
        table.update(make_day(row, n_stocks=3 + row), score(make_day(row, n_stocks=3 + row)))
    if rank == 1:
        table.update(make_day(0, n_stocks=3), score(make_day(0, n_stocks=3)))
    table.compute().to_parquet(folder / f"{rank}.parquet")
    dist.destroy_process_group()


def test_two_processes_merge_exactly(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [start(_score_a_share, rank, port, tmp_path) for rank in (0, 1)]
    assert [finish(process) for process in processes] == [0, 0]
    alone = ScoreTable()
    for row in range(5):
        alone.update(make_day(row, n_stocks=3 + row), score(make_day(row, n_stocks=3 + row)))
    for rank in (0, 1):
        merged = pd.read_parquet(tmp_path / f"{rank}.parquet")
        pd.testing.assert_frame_equal(merged, alone.compute())
