"""Metrics against scipy and pandas, with ties, NaN, constants, single stocks, two processes."""

import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from scipy import stats

from alphazoo.data.days import DayBatch
from alphazoo.metrics import ScoreTable, daily_ic, summary


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
    mp.spawn(_score_a_share, args=(port, tmp_path), nprocs=2)
    alone = ScoreTable()
    for row in range(5):
        alone.update(make_day(row, n_stocks=3 + row), score(make_day(row, n_stocks=3 + row)))
    for rank in (0, 1):
        merged = pd.read_parquet(tmp_path / f"{rank}.parquet")
        pd.testing.assert_frame_equal(merged, alone.compute())


@pytest.mark.parametrize("scale", [1e-300, 5e-324 * 2**60, 1e-160, 1e155, 1e300, -1e300])
def test_ic_does_not_depend_on_the_scale_of_scores_or_returns(scale: float) -> None:
    table = random_table(n_days=5)
    expected = daily_ic(table)
    expected[["ic", "rank_ic"]] *= np.sign(scale)
    for name in ("score", "return"):
        found = daily_ic(table.assign(**{name: table[name] * scale}))
        pd.testing.assert_frame_equal(found, expected, rtol=0, atol=1e-12)


def test_each_day_has_a_scale_of_its_own() -> None:
    """The second day is the first one times 1e200, the third times 1e-200."""
    scores, returns = [3.0, 1.0, 2.0, 5.0], [0.01, -0.02, 0.0, 0.01]
    days = [([s * scale for s in scores], returns) for scale in (1.0, 1e200, 1e-200)]
    expected = stats.pearsonr(scores, returns).statistic
    assert daily_ic(toy(*days))["ic"].tolist() == pytest.approx([expected] * 3, abs=1e-12)


def test_a_small_spread_around_a_large_level_counts() -> None:
    """scipy on the deviations, which are exact in float64: 1e150 (1 + k 2^-40)."""
    steps = np.array([3.0, 1.0, 2.0, 5.0])
    returns = [0.01, -0.02, 0.0, 0.01]
    scores = 1e150 * (1 + steps * 2.0**-40)
    found = daily_ic(toy((scores.tolist(), returns)))["ic"].item()
    assert found == pytest.approx(stats.pearsonr(steps, returns).statistic, abs=1e-3)
