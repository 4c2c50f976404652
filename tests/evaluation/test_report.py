"""Reports, comparisons and ensembles: pages that say what the files say."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL, Alphazoo, small_config, small_frame

from alphazoo.commands.job import train
from alphazoo.config import compose, instantiate
from alphazoo.data.labels import Label
from alphazoo.data.scores import join_returns
from alphazoo.errors import InputError
from alphazoo.evaluation.compare import compare
from alphazoo.evaluation.ensemble import average_scores
from alphazoo.evaluation.evaluate import evaluate, write_evaluation
from alphazoo.evaluation.figures import backtest_figures, training_figures
from alphazoo.evaluation.signals import t_statistic
from alphazoo.market.market import Market
from alphazoo.runs.folders import refuse_run_folder
from alphazoo.runs.replicates import find_runs, group_replicates
from alphazoo.runs.run import Run
from alphazoo.serving.predict import predict

REPORT = ["report=true", "backtest.strategy.topk=3", "backtest.strategy.n_drop=1"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two seeds of one model, one of another."""
    folder = tmp_path_factory.mktemp("runs")
    for name, model, seed in (("a", "gru", 1), ("b", "gru", 2), ("c", "linear", 1)):
        size = ["model.hidden_size=4"] * (model == "gru")
        options = [f"model={model}", f"seed={seed}", *size, f"folder={folder / name}"]
        train(small_config(*REPORT, *options, "trainer.max_epochs=1"))
    return find_runs([folder])


@pytest.mark.thorough
def test_the_figures_of_the_report_are_shown_in_notebooks(runs: list[Run]) -> None:
    run = runs[0]
    market, label = instantiate(run.config.data.market)(), instantiate(run.config.label)
    test = run.scores.query("split == 'test'")
    found = evaluate(test, market, label=label, backtest=instantiate(run.config.backtest))
    written = {file.stem for file in (run.folder / "figures").glob("*.png")}
    assert {name for name in written if not name.startswith(("training", "concepts"))} <= {
        *found.figures
    }
    assert found.figures["value"]._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    analysed = evaluate(test, market, label=label, backtest=None)
    assert set(found.figures) - set(analysed.figures) == {"value", "excess", "turnover"}


def tile(page: str, label: str) -> str:
    found = re.search(rf"<b>([^<]+)</b><span>{label}</span>", page)
    assert found is not None, label
    return found[1]


def test_the_report_says_what_the_metrics_say(runs: list[Run]) -> None:
    page = (runs[0].folder / "report.html").read_text()
    metrics = runs[0].metrics
    assert tile(page, "IC") == f"{metrics['test/ic']:.4f}"
    assert tile(page, "rank ICIR, daily") == f"{metrics['test/rank_icir']:.3f}"
    excess = "backtest/excess_return_with_cost"
    assert (
        tile(page, "information ratio, annualised")
        == f"{metrics[f'{excess}/information_ratio']:.2f}"
    )
    assert f"{metrics[f'{excess}/max_drawdown_sum']:.2%}" in page
    assert metrics["test/ic"] == pytest.approx(
        json.loads((runs[0].folder / "analysis" / "analysis.json").read_text())["metrics"]["ic"]
    )


def test_the_report_needs_no_network(runs: list[Run]) -> None:
    page = (runs[0].folder / "report.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#)|url\(\s*["']?http|@import""", page)
    assert "<script" not in page


def test_every_figure_of_a_run_is_defined_in_its_report(runs: list[Run]) -> None:
    page = (runs[0].folder / "report.html").read_text()
    defined = set(re.findall(r"<dt>([^<]+)</dt>", page))
    figures = {name for name in runs[0].metrics if not name.startswith("val/")}
    assert figures - defined == {"test/loss"}  # of the label, in the training section


def test_the_figures_of_the_page_are_pictures_too(runs: list[Run]) -> None:
    page = (runs[0].folder / "report.html").read_text()
    names = re.findall(r'<figure id="([^"]+)">', page)
    assert {"ic_cumulated", "ic_months", "value", "excess", "training_loss"} <= set(names)
    for name in names:
        assert (runs[0].folder / "figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


def test_a_market_that_is_too_small_to_trade_still_gets_a_report(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = small_config("report=true", "model.hidden_size=4", f"folder={tmp_path}")
    config.backtest.strategy.topk = 50
    train(config)
    assert "no backtest: the strategy needs scores of 50 stocks a day" in caplog.text
    assert (tmp_path / "report.html").exists()
    assert not (tmp_path / "backtest.parquet").exists()


def test_dividends_are_a_caveat_and_the_universe_a_column(tmp_path: Path) -> None:
    """Every stock pays 1% once in 130 days; the index, a price index, pays nothing."""
    frame = small_frame()
    later = frame["date"] >= "2015-04-01"
    paid = 1 + 0.01 * (later & (frame["symbol"] != "ST7"))
    market = Market.from_table(
        frame.assign(adjusted_close=frame["close"] * paid),
        columns={"adjusted_close": "adjusted_close"},
        benchmark="ST7",
    )
    wide = pd.DataFrame(
        np.random.default_rng(0).standard_normal((120, 7)),
        index=pd.Index(market.dates[:120], name="date"),
        columns=pd.Index(market.symbols[:7], name="symbol"),
    )
    config = compose("backtest=table", *REPORT[1:])
    label = instantiate(config.label)
    scores = wide.melt(ignore_index=False, value_name="score").reset_index()
    scores = join_returns(scores, market, label)
    found = evaluate(scores, market, label=label, backtest=instantiate(config.backtest))
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "earlier.png").touch()
    write_evaluation(tmp_path, found, "a title", details={}, market=market)
    page = (tmp_path / "report.html").read_text()
    expected = 252 * np.log(1.01) / 121  # the days of the backtest
    for note in (". Unless the index", ", which a price index excludes"):  # data and portfolio
        assert f"dividends of about {expected:.1%} a year{note}" in page
    over = found.metrics["backtest/excess_return_over_universe_with_cost/annualised_sum"]
    assert f"{over:.2%}" in page
    assert "<th>excess return over universe with cost</th>" in page
    assert (tmp_path / "figures" / "value.png").exists()
    assert not (tmp_path / "figures" / "earlier.png").exists()  # of another evaluation


def test_results_of_a_run_are_not_replaced(runs: list[Run], alphazoo: Alphazoo) -> None:
    run = runs[0].folder
    before = (run / "metrics.json").read_bytes()
    data = [override for override in SMALL if override.startswith("data.")]
    told = [f"scores={run / 'scores.parquet'}", *data, *REPORT[1:]]
    message = f"error: {run} is the folder of a run, whose results would be overwritten"
    assert str(alphazoo("evaluate", *told, f"out={run}").code).startswith(message)
    members = [str(member.folder) for member in runs]
    assert str(alphazoo("ensemble", *members, f"out={run}").code).startswith(message)
    assert (run / "metrics.json").read_bytes() == before
    assert (run / "checkpoints" / "best.ckpt").is_file()


def test_scores_of_any_tool_are_evaluated(
    runs: list[Run], alphazoo: Alphazoo, tmp_path: Path
) -> None:
    """The same scores under Qlib's names and without returns have the figures of the run."""
    test = runs[0].scores.query("split == 'test'")
    other = test.rename(columns={"date": "datetime", "symbol": "instrument"})
    other[["datetime", "instrument", "score"]].to_csv(tmp_path / "mine.csv", index=False)
    data = [override for override in SMALL if override.startswith("data.")]
    result = alphazoo("evaluate", "scores=mine.csv", *data, *REPORT[1:], "out=judged")
    assert result.code == 0
    metrics = json.loads((tmp_path / "judged" / "metrics.json").read_text())
    for name, value in metrics.items():
        assert value == pytest.approx(runs[0].metrics[name], abs=1e-6), name
    assert f"IC            {metrics['test/ic']:9.4f}" in result.out
    other.assign(instrument="XX").to_csv(tmp_path / "wrong.csv", index=False)
    assert "repeat the date and symbol" in str(alphazoo("evaluate", "scores=wrong.csv", *data).code)
    first = other["instrument"].iloc[0]
    other.replace({"instrument": {first: "XX"}}).to_csv(tmp_path / "wrong.csv", index=False)
    arguments = ["evaluate", "scores=wrong.csv", *data, *REPORT[1:]]
    assert "1 symbols that market" in str(alphazoo(*arguments).code)
    assert alphazoo(*arguments, "drop_unknown=true").code == 0
    assert "no file nothing.csv" in str(alphazoo("evaluate", "scores=nothing.csv", *data).code)
    assert "expected: alphazoo evaluate" in str(alphazoo("evaluate").code)


def test_an_evaluation_knows_how_long_a_return_covers() -> None:
    """Returns of ten days overlap on nine: so many lags have the errors of their mean."""
    market = instantiate(small_config().data.market)()
    label = Label(buy=2, sell=12, scale="raw")
    rows, stocks = np.nonzero(market.present[30:110].numpy())
    scores = pd.DataFrame(
        {
            "date": market.dates[30:110][rows],
            "symbol": pd.Index(market.symbols)[stocks],
            "score": np.random.default_rng(0).standard_normal(len(rows)),
        }
    )
    table = join_returns(scores, market, label)
    found = evaluate(table, market, label=label, backtest=None)
    assert found.metrics["test/newey_west_lags"] == 9
    daily = found.analysis.daily["ic"].to_numpy()
    assert found.metrics["test/ic_t"] == pytest.approx(t_statistic(daily, 9))
    first = table.iloc[0]
    close = market.field("close")[:, market.symbols.index(first["symbol"])]
    row = market.dates.get_loc(first["date"])
    assert first["return"] == pytest.approx(float(close[row + 12] / close[row + 2] - 1))


def test_curves_of_figures_are_those_of_the_tables() -> None:
    days = pd.DataFrame(
        {
            "date": pd.bdate_range("2020-01-01", periods=3),
            "return": [0.1, -0.2, 0.3],
            "cost": [0.01, 0.0, 0.02],
            "benchmark": [0.0, 0.05, 0.1],
            "turnover": [1.0, 0.5, 0.0],
        }
    )
    curves = {
        (name, str(line.get_label())): np.asarray(line.get_ydata(), dtype=float)
        for name, figure in backtest_figures(days)
        for line in figure.axes[0].get_lines()
    }
    expected = {
        ("value", "after costs"): [1.09, 1.09 * 0.8, 1.09 * 0.8 * 1.28],
        ("value", "before costs"): [1.1, 0.88, 1.144],
        ("value", "benchmark"): [1.0, 1.05, 1.155],
        ("excess", "excess return"): [0.09, -0.16, 0.02],
        ("turnover", "daily"): [1.0, 0.5, 0.0],
        ("turnover", "21-day mean"): [1.0, 0.75, 0.5],
    }
    assert curves.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(curves[name], values, err_msg=str(name))
    log = pd.DataFrame(
        {
            "epoch": [0, 0, 1, 1, 2],  # the last row scores the best epoch again
            "train/loss": [np.nan, 0.9, np.nan, 0.8, np.nan],
            "val/loss": [0.7, np.nan, 0.6, np.nan, 0.5],
            "val/ic": [0.1, np.nan, 0.2, np.nan, 0.3],
        }
    )
    figures = dict(training_figures(log))
    lines = [[*line.get_ydata()] for line in figures["training_loss"].axes[0].get_lines()]
    assert lines == [[0.9, 0.8], [0.7, 0.6]]
    assert [*figures["training_ic"].axes[0].get_lines()[0].get_ydata()] == [0.1, 0.2]


def test_runs_are_grouped_by_what_they_were_told(runs: list[Run]) -> None:
    groups = group_replicates(runs)
    assert {name: len(group) for name, group in groups.items()} == {"GRU": 2, "Linear": 1}
    table = compare(groups)
    ics = [run.metrics["test/ic"] for run in runs[:2]]
    assert table.loc["GRU", ("IC", "mean")] == pytest.approx(np.mean(ics))
    assert table.loc["GRU", ("IC", "std")] == pytest.approx(np.std(ics, ddof=1))
    wider = Run(runs[1].folder, runs[1].config.copy())
    wider.config.model.lr = 0.5
    assert [*group_replicates([runs[0], wider])] == ["GRU model.lr=0.001", "GRU model.lr=0.5"]


def test_a_comparison_is_a_table_and_a_page(
    runs: list[Run], alphazoo: Alphazoo, tmp_path: Path
) -> None:
    result = alphazoo("compare", str(runs[0].folder.parent), "out=side")
    assert result.code == 0
    head, _, *rows = (tmp_path / "side" / "compare.md").read_text().splitlines()
    assert head.startswith("| model | IC | ICIR | rank IC | rank ICIR | ann. return | IR | max dr")
    assert re.match(r"\| GRU \| -?0\.\d{4} ± 0\.\d{4} \|", rows[0])
    assert re.match(r"\| Linear \| -?0\.\d{4} \|", rows[1])
    flat = pd.read_csv(tmp_path / "side" / "compare.csv", index_col="model")
    assert flat.loc["GRU", "runs"] == 2
    assert "± " in (tmp_path / "side" / "compare.html").read_text()
    assert "has no config.yaml" in str(alphazoo("compare", "nowhere").code)
    assert "expected: alphazoo compare RUN" in str(alphazoo("compare").code)


def test_an_ensemble_averages_ranks_day_by_day(runs: list[Run]) -> None:
    scores = average_scores(runs, "rank")
    ranks = [
        run.scores.set_index(["date", "symbol"]).groupby(["date", "split"])["score"].rank(pct=True)
        for run in runs
    ]
    expected = pd.concat(ranks, axis=1).mean(axis=1).sort_index()
    found = scores.set_index(["date", "symbol"])["score"].sort_index()
    np.testing.assert_allclose(found, expected)
    pd.testing.assert_series_equal(scores["return"], runs[0].scores["return"])
    standard = average_scores(runs, "zscore")
    assert standard.groupby("date")["score"].mean().abs().max() < 1e-9


def test_what_cannot_be_averaged_is_refused(runs: list[Run], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least two runs, got 1"):
        average_scores(runs[:1], "rank")
    with pytest.raises(InputError, match="unknown method 'ranks'; did you mean 'rank'"):
        average_scores(runs, "ranks")
    other = Run(tmp_path, runs[0].config)
    runs[0].scores.assign(**{"return": 0.5}).to_parquet(tmp_path / "scores.parquet")
    with pytest.raises(InputError, match=r"different returns of S0000\d on 2015-04-16"):
        average_scores([runs[0], other], "rank")
    later = runs[0].scores["date"] + pd.Timedelta(days=10000)
    runs[0].scores.assign(date=later).to_parquet(tmp_path / "scores.parquet")
    with pytest.raises(InputError, match="no day and stock in common"):
        average_scores([runs[0], other], "rank")


def test_an_ensemble_is_a_run_of_its_own(
    runs: list[Run], alphazoo: Alphazoo, tmp_path: Path
) -> None:
    members = [str(run.folder) for run in runs]
    assert alphazoo("ensemble", *members, "by=zscore", "out=all").code == 0
    refuse_run_folder(tmp_path / "all", unless="ensemble")  # another may follow
    with pytest.raises(InputError, match="all is the folder of a run"):
        refuse_run_folder(tmp_path / "all")
    run = Run.open(tmp_path / "all")
    assert (run.folder / "report.html").exists()
    assert [*run.config.ensemble.runs] == members
    assert [*group_replicates([*runs[:2], run])] == ["GRU", "zscore ensemble of 2 x GRU, Linear"]
    test = run.scores.query("split == 'test'")
    day = f"{test['date'].iloc[0]:%Y-%m-%d}"
    scores = predict(run, date=day)
    known = test[test["date"] == day].reset_index(drop=True)
    pd.testing.assert_frame_equal(scores, known[["date", "symbol", "score"]])


def test_every_market_has_a_backtest_of_its_own() -> None:
    for data in ("qlib", "table", "synthetic"):
        assert compose(f"data={data}").backtest.strategy.topk > 0


def test_a_day_without_differences_costs_the_backtest_and_nothing_else(
    alphazoo: Alphazoo, tmp_path: Path
) -> None:
    prices = small_frame(n_days=60)
    prices.to_parquet(tmp_path / "prices.parquet")
    scores = prices[["date", "symbol"]].assign(pred=prices["volume"])
    scores.loc[scores["date"] == prices["date"].unique()[40], "pred"] = 0.5
    scores.to_csv(tmp_path / "pred.csv", index=False)
    told = ["data=table", "data.path=prices.parquet", "backtest.strategy.topk=2"]
    told += ["backtest.strategy.n_drop=1", "out=out"]
    refused = str(alphazoo("evaluate", "scores=pred.csv", *told).code)
    assert "pred.csv has no column score: columns.score=NAME (in Python, columns=" in refused
    assert alphazoo("evaluate", "scores=pred.csv", *told, "columns.score=pred").code == 0
    daily = pd.read_parquet(tmp_path / "out" / "analysis" / "daily.parquet")
    assert daily["ic"].count() == 57  # the last two days have no return
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "There is no backtest: on 1 days all scores are equal" in page
    assert not (tmp_path / "out" / "backtest.parquet").exists()
