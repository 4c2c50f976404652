"""The signal analysis against scipy, pandas, alphalens, Qlib and statsmodels, and by hand."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import real_data, small_frame
from scipy import stats

from alphazoo.data.labels import Label
from alphazoo.data.scores import join_returns
from alphazoo.errors import InputError
from alphazoo.evaluation.analysis import LAGS, Analysis, analyse, write_analysis
from alphazoo.evaluation.definitions import SIGNALS
from alphazoo.evaluation.signals import newey_west_lags, t_statistic
from alphazoo.market.concept_table import read_concepts
from alphazoo.market.market import Market
from alphazoo.metrics import summary

NEXT_DAY = Label(buy=1, sell=2, scale="rank")


def random_scores(
    n_days: int = 80, n_stocks: int = 37, seed: int = 0, missing: float = 0.0
) -> pd.DataFrame:
    """Scores and unrelated returns; a share of the returns and as many rows are missing."""
    random = np.random.default_rng(seed)
    size = n_days * n_stocks
    table = pd.DataFrame(
        {
            "date": np.repeat(pd.bdate_range("2015-11-20", periods=n_days), n_stocks),
            "symbol": np.tile([f"S{i:02d}" for i in range(n_stocks)], n_days),
            "score": random.standard_normal(size),
            "return": 0.02 * random.standard_normal(size),
        }
    )
    table.loc[random.random(size) < missing, "return"] = np.nan
    return table[random.random(size) >= missing].reset_index(drop=True)


@pytest.fixture(scope="module", params=[0.0, 0.2], ids=["complete", "with gaps"])
def table(request: pytest.FixtureRequest) -> pd.DataFrame:
    return random_scores(missing=request.param)


@pytest.fixture(scope="module")
def analysis(table: pd.DataFrame) -> Analysis:
    return analyse(table)


@pytest.fixture(scope="module")
def market() -> Market:
    """130 days of 40 stocks that all are members."""
    columns = {"adjusted_close": "adjusted_close"}
    return Market.from_table(small_frame(n_stocks=40), columns=columns)


def score_everything(market: Market, panel: torch.Tensor | None = None) -> pd.DataFrame:
    """Scores of each day and stock, those of a panel [D, S] or random ones."""
    shape = len(market.dates), len(market.symbols)
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    table = pd.DataFrame(
        {
            "date": np.repeat(market.dates, shape[1]),
            "symbol": np.tile(market.symbols, shape[0]),
            "score": (values if panel is None else panel).ravel().numpy(),
        }
    )
    table = table[np.isfinite(table["score"])].reset_index(drop=True)
    return join_returns(table, market, NEXT_DAY)


def same(found: "pd.Series[float]", expected: "pd.Series[float]") -> None:
    pd.testing.assert_series_equal(
        found, expected, check_names=False, check_freq=False, check_index_type=False, rtol=1e-9
    )


def test_figures_worked_by_hand() -> None:
    def day(date: str, scores: list[float], returns: list[float]) -> pd.DataFrame:
        columns = {"symbol": list("ABCDE"), "score": scores, "return": returns}
        return pd.DataFrame({"date": pd.Timestamp(date), **columns})

    found = analyse(
        pd.concat(
            [
                day("2016-12-30", [1, 2, 3, 4, 5], [0.01, 0.02, 0.03, 0.04, 0.10]),
                day("2017-01-02", [1, 2, 3, 5, 4], [0.05, 0.04, 0.03, 0.01, 0.02]),
                day("2017-01-03", [5, 4, 3, 2, 1], [0.00, 0.01, 0.02, 0.03, 0.04]),
            ]
        )
    )
    daily = found.daily
    # returns less 0.04 are -3, -2, -1, 0, 6 per cent: 20 / sqrt(10 * 50)
    assert daily["ic"].tolist() == pytest.approx([20 / 500**0.5, -1, -1])
    assert daily["rank_ic"].tolist() == pytest.approx([1, -1, -1])
    assert daily["long_short"].tolist() == pytest.approx([0.045, -0.02, -0.02])
    assert daily["spread"].tolist() == pytest.approx([0.09, -0.04, -0.04])
    assert daily["mean_return"].tolist() == pytest.approx([0.04, 0.03, 0.02])
    # ranks 1 2 3 4 5, then 1 2 3 5 4: 1 - 6 * 2 / 120; then 5 4 3 2 1
    assert daily["autocorrelation"].tolist()[1:] == pytest.approx([0.9, -0.9])
    assert daily["turnover"].tolist()[1:] == [1, 1]  # E, D, A
    assert np.isnan(daily["autocorrelation"].iloc[0])
    assert np.isnan(daily["turnover"].iloc[0])
    assert found.quantiles["return"].tolist() == pytest.approx(
        [0.10 / 3, 0.09 / 3, 0.08 / 3, 0.07 / 3, 0.11 / 3]
    )
    assert found.quantiles["excess"].iloc[0] == pytest.approx(0.10 / 3 - 0.03)
    assert found.years["rank_ic"].to_dict() == pytest.approx({2016: 1, 2017: -1})
    assert found.months["days"].to_dict() == {(2016, 12): 1, (2017, 1): 2}
    figures = found.metrics
    assert figures["rank_ic"] == pytest.approx(-1 / 3)
    assert figures["rank_ic_positive"] == pytest.approx(1 / 3)
    assert figures["stocks"] == 5


def test_ic_agrees_with_scipy(table: pd.DataFrame, analysis: Analysis) -> None:
    for date, rows in table.dropna().groupby("date"):
        day = analysis.daily.loc[date]
        assert day["ic"] == pytest.approx(stats.pearsonr(rows["score"], rows["return"])[0])
        assert day["rank_ic"] == pytest.approx(stats.spearmanr(rows["score"], rows["return"])[0])
        assert day["stocks"] == len(rows)


def test_the_figures_of_the_log_are_among_those_of_the_analysis(
    table: pd.DataFrame, analysis: Analysis
) -> None:
    logged = summary(table)
    assert {name: analysis.metrics[name] for name in logged} == logged


def test_quantiles_agree_with_pandas(table: pd.DataFrame, analysis: Analysis) -> None:
    pairs = table.dropna()
    groups = pairs.groupby("date")["score"].transform(lambda x: pd.qcut(x, 5, labels=False))
    expected = pairs.groupby(["date", groups])["return"].mean().unstack()
    for number in range(5):
        same(analysis.daily[f"q{number + 1}"], expected[number])
    same(analysis.daily["spread"], expected[4] - expected[0])


def test_long_short_agrees_with_pandas(table: pd.DataFrame, analysis: Analysis) -> None:
    def expected(rows: pd.DataFrame) -> float:
        returns = rows.sort_values("score")["return"]
        size = len(rows) // 5
        return float(returns.iloc[-size:].mean() - returns.iloc[:size].mean()) / 2

    days = table.dropna().groupby("date")[["score", "return"]]
    same(analysis.daily["long_short"], days.apply(expected))


def test_autocorrelation_agrees_with_pandas(table: pd.DataFrame, analysis: Analysis) -> None:
    ranks = table.set_index(["date", "symbol"])["score"].groupby("date").rank().unstack()
    expected = {lag: ranks.corrwith(ranks.shift(lag), axis=1) for lag in LAGS}
    same(analysis.daily["autocorrelation"], expected[1])
    assert analysis.autocorrelations["autocorrelation"].to_dict() == pytest.approx(
        {lag: series.mean() for lag, series in expected.items()}
    )


def test_turnover_agrees_with_sets(table: pd.DataFrame, analysis: Analysis) -> None:
    days = [
        set(rows["symbol"][rows["score"] > rows["score"].quantile(0.8)])
        for _, rows in table.groupby("date")
    ]
    expected = [len(now - before) / len(now) for before, now in pairwise(days)]
    assert analysis.daily["turnover"].iloc[1:].tolist() == pytest.approx(expected)


def test_periods_agree_with_pandas(analysis: Analysis) -> None:
    month = analysis.daily.loc["2015-12"]
    found = analysis.months.loc[(2015, 12)]
    assert found["ic"] == pytest.approx(month["ic"].mean())
    assert found["rank_icir"] == pytest.approx(month["rank_ic"].mean() / month["rank_ic"].std())
    assert found["long_short"] == pytest.approx(month["long_short"].mean())
    assert analysis.years["days"].sum() == len(analysis.daily)


def test_all_agrees_with_alphalens(table: pd.DataFrame) -> None:
    performance = pytest.importorskip("alphalens.performance")
    utils = pytest.importorskip("alphalens.utils")
    pairs = table.dropna()
    indexed = pairs.rename(columns={"symbol": "asset"}).set_index(["date", "asset"])
    dates = pd.DatetimeIndex(pairs["date"].unique(), freq="B")
    index = indexed.index.set_levels(dates, level="date")
    indexed = indexed.set_index(index)
    returns = indexed[["return"]].rename(columns={"return": "1D"})
    data = utils.get_clean_factor(indexed["score"], returns, quantiles=5)
    daily = analyse(pairs).daily

    same(daily["rank_ic"], performance.factor_information_coefficient(data)["1D"])
    means, _ = performance.mean_return_by_quantile(data, by_date=True, demeaned=False)
    for number in range(1, 6):
        same(daily[f"q{number}"], means["1D"].xs(number))
    same(daily["autocorrelation"], performance.factor_rank_autocorrelation(data))
    turnover = performance.quantile_turnover(data["factor_quantile"], 5).astype(float)
    same(daily["turnover"].iloc[1:], turnover.iloc[-len(daily) + 1 :])


def test_ic_and_long_short_agree_with_qlib(table: pd.DataFrame) -> None:
    alpha = pytest.importorskip("qlib.contrib.eva.alpha")
    pairs = table.dropna().rename(columns={"date": "datetime", "symbol": "instrument"})
    pairs = pairs.set_index(["datetime", "instrument"])
    daily = analyse(pairs).daily
    ic, rank_ic = alpha.calc_ic(pairs["score"], pairs["return"])
    same(daily["ic"], ic)
    same(daily["rank_ic"], rank_ic)
    returns, mean_return = alpha.calc_long_short_return(pairs["score"], pairs["return"])
    same(daily["long_short"], returns)
    same(daily["mean_return"], mean_return)


def test_t_statistic_worked_by_hand() -> None:
    # less the mean of 3: -2, 0, -1, 3; their squares 14, products one apart 0 + 0 - 3, two 2 + 0
    values = np.array([1.0, 3, np.nan, 2, 6])
    assert t_statistic(values, 0) == pytest.approx(3 * 4 / 14**0.5)
    assert t_statistic(values, 1) == pytest.approx(3 * 4 / (14 - 2 * 0.5 * 3) ** 0.5)
    assert t_statistic(values, 2) == pytest.approx(3 * 4 / (14 - 2 * 2 / 3 * 3 + 2 / 3 * 2) ** 0.5)
    assert np.isnan(t_statistic(np.array([0.5, 0.5]), 1))
    assert [newey_west_lags(n) for n in (10, 99, 100, 972)] == [2, 3, 4, 6]


@pytest.mark.parametrize("lags", [0, 1, 6, 30])
def test_t_statistic_agrees_with_statsmodels(lags: int) -> None:
    api = pytest.importorskip("statsmodels.api")
    values = np.random.default_rng(0).standard_normal(300).cumsum() / 10 + 1
    options = {"maxlags": lags, "use_correction": False}
    fit = api.OLS(values, np.ones(300)).fit(cov_type="HAC", cov_kwds=options)
    assert t_statistic(values, lags) == pytest.approx(fit.tvalues[0])


def test_overlapping_returns_widen_the_errors() -> None:
    table = random_scores()
    assert analyse(table).metrics["newey_west_lags"] == 3
    figures = analyse(table, holding=10).metrics
    assert figures["newey_west_lags"] == 9
    daily = analyse(table).daily["rank_ic"].to_numpy()
    assert figures["rank_ic_t"] == t_statistic(daily, 9)


def test_perfect_foresight_has_an_ic_of_1_and_a_day_late_none(market: Market) -> None:
    returns = NEXT_DAY.returns(market.field("close"))
    perfect = analyse(score_everything(market, returns))
    assert perfect.metrics["ic"] == pytest.approx(1)
    assert perfect.metrics["rank_ic"] == pytest.approx(1)
    assert perfect.metrics["undefined_days"] == 0
    best, _ = returns[:-2].sort(dim=1)
    ends = (best[:, -8:].mean(dim=1) - best[:, :8].mean(dim=1)) / 2
    assert perfect.daily["long_short"].tolist() == pytest.approx(ends.tolist(), rel=1e-4)
    for days in (1, -1):  # a score that is late, or early, knows nothing of the day
        figures = analyse(score_everything(market, returns.roll(days, dims=0))).metrics
        assert abs(figures["rank_ic_t"]) < 3
        assert abs(figures["ic"]) < 0.05


def test_random_scores_have_no_ic(market: Market) -> None:
    figures = analyse(score_everything(market), market).metrics
    for name in ("ic", "rank_ic"):
        assert abs(figures[name]) < 4 / (40 * 128) ** 0.5
        assert abs(figures[f"{name}_t"]) < 3
    assert abs(figures["autocorrelation"]) < 0.05
    assert figures["turnover"] == pytest.approx(0.8, abs=0.03)


def test_decay_finds_the_day_that_a_score_foresees(market: Market) -> None:
    close = market.field("close")
    ahead = Label(buy=3, sell=4, scale="raw").returns(close)
    decay = analyse(score_everything(market, ahead), market).decay
    assert decay is not None
    assert decay.index.tolist() == list(range(1, 21))
    assert decay.loc[3, "ic"] == pytest.approx(1)
    assert decay.loc[3, "rank_ic"] == pytest.approx(1)
    assert decay["ic"].drop(3).abs().max() < 0.05
    week = Label(buy=1, sell=6, scale="raw").returns(close)
    decay = analyse(score_everything(market, week), market).decay
    assert decay is not None
    assert decay.loc[5, "held_ic"] == pytest.approx(1)
    assert decay.loc[[1, 2, 3, 4, 5], "ic"].min() > 0.3
    assert decay.loc[6:, "ic"].abs().max() < 0.06
    assert decay["held_ic"].idxmax() == 5


def test_the_first_horizon_is_the_ic_of_the_table(market: Market) -> None:
    table = score_everything(market).sample(frac=0.7, random_state=0)
    found = analyse(table, market)
    assert found.decay is not None
    for name in ("ic", "rank_ic"):
        assert found.decay.loc[1, name] == pytest.approx(found.metrics[name])
        assert found.decay.loc[1, f"held_{name}"] == pytest.approx(found.metrics[name])


def test_decay_ends_where_the_calendar_does(market: Market) -> None:
    early = market.until(9)
    table = score_everything(early)
    decay = analyse(table, early).decay
    assert decay is not None
    assert decay.index.tolist() == list(range(1, 9))
    # h = 8 has one day: its return is from day 8 to day 9
    scores = table[table["date"] == early.dates[0]]["score"]
    close = early.field("close")
    expected = stats.spearmanr(scores, close[9] / close[8]).statistic
    assert decay.loc[8, "rank_ic"] == pytest.approx(expected)
    assert len(analyse(table, early, n_horizons=0).tables["decay"]) == 0


def test_concepts_count_on_the_days_they_hold(market: Market) -> None:
    members = pd.DataFrame(
        {
            "symbol": [f"ST{i}" for i in (*range(12), *range(12, 24), 30)],
            "concept": ["oil"] * 12 + ["gas"] * 12 + ["one"],
            "from": [market.dates[0]] * 12 + [market.dates[60]] * 13,
            "to": [market.dates[99]] * 12 + [None] * 13,
        }
    )
    concepts = read_concepts(market, [], table=members)
    table = score_everything(market)
    found = analyse(table, market, concepts=concepts, min_stocks=12).concepts
    assert found is not None
    assert found["days"].to_dict() == {"gas": 68, "oil": 100}  # one is too small
    assert found["stocks"].tolist() == [12, 12]
    for name, first, last, numbers in (("oil", 0, 99, range(12)), ("gas", 60, 129, range(12, 24))):
        inside = table["symbol"].isin([f"ST{i}" for i in numbers])
        held = table["date"].between(market.dates[first], market.dates[last])
        assert found.loc[name, "ic"] == pytest.approx(summary(table[inside & held])["ic"])
        assert found.loc[name, "rank_ic"] == pytest.approx(summary(table[inside & held])["rank_ic"])


def test_coverage_is_of_the_members_with_a_price(market: Market) -> None:
    first, second, third, fourth = market.dates[:4]
    table = score_everything(market)
    low = table["symbol"] < "ST2"  # ST0, ST1, ST10 ... ST19
    table = table[(table["date"] != second) & ~((table["date"] == third) & low)]
    members = market.members.clone()
    members[3, 20:] = False  # and scored
    found = analyse(table, replace(market, members=members))
    coverage = found.daily["coverage"]
    assert coverage[[first, third, fourth]].tolist() == pytest.approx([1, 1 - 12 / 40, 1])
    assert found.metrics["unscored_days"] == 1


def test_equal_scores_share_a_quantile() -> None:
    table = pd.DataFrame(
        {
            "date": pd.Timestamp("2015-01-01"),
            "symbol": list("ABCDEFGHIJ"),
            "score": [0, 0, 0, 1, 2, 3, 4, 5, 5, 5],
            "return": np.arange(10) / 100,
        }
    )
    for order in (slice(None), slice(None, None, -1)):
        day = analyse(table.iloc[order]).daily.iloc[0]
        # mean ranks 2 4 5 6 7 9, of 1 to 10: 2 is in the first fifth of the span, 9 in the last
        assert day[["q1", "q2", "q3", "q4", "q5"]].tolist() == pytest.approx(
            [0.01, 0.03, 0.045, 0.06, 0.08]
        )
        assert day["long_short"] == pytest.approx(0.035)


def test_a_day_of_equal_scores_is_undefined_and_the_others_count() -> None:
    table = random_scores(n_days=4)
    first = table["date"] == table["date"].iloc[0]
    found = analyse(table.assign(score=table["score"].where(~first, 0.1)))
    assert found.metrics["undefined_days"] == 1
    undefined = found.daily.iloc[0]
    assert undefined[["ic", "rank_ic", "q1", "q3", "q5", "spread", "long_short"]].isna().all()
    assert found.daily.iloc[1:][["ic", "q1", "long_short"]].notna().all(axis=None)
    assert found.metrics["ic"] == pytest.approx(found.daily["ic"].iloc[1:].mean())


def test_the_order_of_rows_does_not_matter(table: pd.DataFrame, analysis: Analysis) -> None:
    shuffled = analyse(table.sample(frac=1, random_state=0))
    for name, part in analysis.tables.items():
        pd.testing.assert_frame_equal(shuffled.tables[name], part)


def test_every_number_has_a_definition(market: Market) -> None:
    concepts = read_concepts(
        market, [], table=pd.DataFrame({"symbol": market.symbols, "concept": "all"})
    )
    found = analyse(score_everything(market), market, concepts=concepts)
    names = {*found.metrics, *found.tables}
    for part in found.tables.values():
        names |= {name for name in part.columns if not re.fullmatch(r"q\d+", name)}
    assert len(found.tables) == 7
    assert names - SIGNALS.keys() == set()
    assert all(text.endswith(".") for text in SIGNALS.values())


def test_an_analysis_is_written_as_json_and_parquet(tmp_path: Path) -> None:
    table = random_scores(n_days=3)
    perfect = analyse(table.assign(score=table["return"]))
    folder = tmp_path / "new" / "analysis"
    write_analysis(folder, perfect)
    content = json.loads((folder / "analysis.json").read_text())
    assert content["metrics"]["ic"] == pytest.approx(1)
    assert content["metrics"]["ic_t"] is None  # no variance
    assert content["definitions"]["ic"] == SIGNALS["ic"]
    assert content["tables"]["daily"][0]["date"] == "2015-11-20"
    assert content["tables"]["daily"][0]["turnover"] is None
    files = {file.stem for file in folder.glob("*.parquet")}
    assert files == {*perfect.tables} == {*content["tables"]}
    assert len([*folder.iterdir()]) == len(files) + 1  # nothing half-written
    for name in files:
        written = pd.read_parquet(folder / f"{name}.parquet")
        pd.testing.assert_frame_equal(
            written, perfect.tables[name].reset_index(), check_dtype=False, check_freq=False
        )


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"return": None}, {}, "no column 'return'; join_returns adds"),
        ({"score": 1.0}, {}, "on no day do two stocks have different finite scores"),
        (
            {"date": "2015-11-20"},
            {},
            "2923 rows that repeat the date and symbol of another: 2015-11-20 S00",
        ),
        ({}, {"n_quantiles": 1}, "n_quantiles must be at least 2, got 1"),
    ],
)
def test_what_cannot_be_analysed_is_refused(
    change: dict[str, object], options: dict[str, int], message: str
) -> None:
    table = random_scores().assign(**change)
    table = table.drop(columns=[name for name, value in change.items() if value is None])
    with pytest.raises(InputError, match=message):
        analyse(table, **options)


def test_a_market_that_does_not_fit_is_refused(market: Market) -> None:
    with pytest.raises(InputError, match="37 symbols that market .* lacks: S00, S01"):
        analyse(random_scores(), market)
    everyone = pd.DataFrame({"symbol": market.symbols, "concept": "all"})
    concepts = read_concepts(market, [], table=everyone)
    with pytest.raises(InputError, match="concepts need the market"):
        analyse(random_scores(), concepts=concepts)


def test_a_reversal_of_real_stocks(caplog: pytest.LogCaptureFixture) -> None:
    market = Market.from_qlib(str(real_data("csi300")), universe="csi300")
    caplog.clear()
    rows, stocks = (x.numpy() for x in market.present[1500:1600].nonzero(as_tuple=True))
    close = market.field("close").numpy()
    dates, symbols = market.dates[1500:1600][rows], pd.Index(market.symbols)[stocks]
    score = -close[1500:1600][rows, stocks] / close[1495:1595][rows, stocks]
    table = pd.DataFrame({"date": dates, "symbol": symbols, "score": score})
    joined = join_returns(table, market, NEXT_DAY)
    assert len(joined) == len(table)
    found = analyse(joined, market)
    assert [record.getMessage() for record in caplog.records] == [
        f"{np.isnan(score).sum()} of {len(score)} scores are not finite in the DataFrame; dropped"
    ]
    assert found.metrics["coverage"] == pytest.approx(np.isfinite(score).mean(), abs=1e-3)
    assert found.metrics["autocorrelation"] == pytest.approx(0.75, abs=0.1)  # 4 days of 5 shared
    assert found.decay is not None
    assert found.decay.loc[1, "rank_ic"] == pytest.approx(found.metrics["rank_ic"])
    spearman = joined.dropna().groupby("date")[["score", "return"]].corr("spearman")
    assert found.metrics["rank_ic"] == pytest.approx(spearman["score"].xs("return", level=1).mean())
