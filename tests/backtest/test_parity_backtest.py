"""The backtest is that of Qlib, on the same scores and prices. Needs the extra ``parity``."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import real_data, write_qlib

from alphazoo.backtest.exchange import Exchange
from alphazoo.backtest.result import Backtest
from alphazoo.backtest.run import run_backtest
from alphazoo.backtest.strategies import TopkDropout
from alphazoo.market.market import Market

qlib = pytest.importorskip("qlib", reason="compares with pyqlib: pip install 'alphazoo[parity]'")

STRATEGY = {
    "topk": 8,
    "n_drop": 3,
    "hold_thresh": 1,
    "risk_degree": 0.95,
    "only_tradable": False,
}
EXCHANGE = {
    "buy_cost": 0.0005,
    "sell_cost": 0.0015,
    "min_cost": 5.0,
    "limit": None,
    "trade_unit": None,
}
COLUMNS = {"return": "return", "cost": "cost", "turnover": "turnover", "benchmark": "bench"}


def prices(n_days: int = 120, n_stocks: int = 30) -> pd.DataFrame:
    """A long table with suspended days, moves beyond 9.5%, and stocks that come and go."""
    random = np.random.default_rng(0)
    shape = (n_days, n_stocks)
    moves = 0.03 * random.standard_normal(shape)
    moves[random.random(shape) < 0.05] = 0.0999
    moves[random.random(shape) < 0.05] = -0.0999
    close = 20 * np.cumprod(1 + moves, axis=0)
    close[random.random(shape) < 0.1] = np.nan
    close[40:60, :3] = np.nan
    close[50:, 3:5] = np.nan  # gone for good
    close[:70, 5:7] = np.nan
    close[:, -1] = 1000 * np.cumprod(1 + 0.01 * random.standard_normal(n_days))  # the benchmark
    close = close.astype(np.float32)
    before = pd.DataFrame(close).ffill().shift().to_numpy()
    factor = np.where(np.isfinite(close), random.uniform(0.5, 4, n_stocks), np.nan)
    frame = pd.DataFrame(
        {
            "date": np.repeat(pd.bdate_range("2015-01-01", periods=n_days), n_stocks),
            "symbol": np.tile([f"ST{i:02}" for i in range(n_stocks)], n_days),
            "close": close.ravel(),
            "change": (close / before - 1).ravel(),  # what Qlib's limits are about
            "factor": factor.ravel(),
            "volume": np.where(np.isfinite(close), 1e6, np.nan).ravel(),
        }
    )
    return frame.assign(open=frame["close"], high=frame["close"], low=frame["close"])


def random_scores(frame: pd.DataFrame) -> pd.DataFrame:
    """Some stocks have none on some days, one day has none at all."""
    random = np.random.default_rng(1)
    dates = frame["date"].unique()
    panel = random.standard_normal((len(dates), 29))
    panel[random.random(panel.shape) < 0.1] = np.nan
    symbols = pd.Index(frame["symbol"].unique()[:29], name="symbol")
    wide = pd.DataFrame(panel, pd.Index(dates, name="date"), symbols)[10:-5].drop(index=dates[80])
    return wide.melt(ignore_index=False, value_name="score").dropna().reset_index()


def complete(scores: pd.DataFrame) -> "pd.Series[float]":
    """The signal for Qlib: a stock without a score has one below all others, by its symbol.

    Of several such stocks in a full portfolio Qlib else sells one or the other, in the order of a
    set of texts, which differs from process to process: the annual return by half a per cent.
    """
    wide = scores.pivot(index="date", columns="symbol", values="score").astype(float)
    lowest = pd.Series(wide.min(axis=None) - 1 - np.arange(wide.shape[1]), wide.columns)
    filled = wide.fillna(lowest).rename_axis(index="datetime", columns="instrument")
    long = filled.melt(ignore_index=False, value_name="score")
    return long.set_index("instrument", append=True)["score"]


def of_qlib(
    folder: Path, scores: pd.DataFrame, days: pd.DataFrame, settings: dict, benchmark: str
) -> pd.DataFrame:
    """Days of Qlib's own backtest."""
    from qlib.backtest import backtest
    from qlib.contrib.strategy import TopkDropoutStrategy

    # the region whose default is no limit, as one cannot ask for none
    qlib.init(
        provider_uri=str(folder),
        region="us",
        kernels=1,
        joblib_backend="threading",
        logging_level=40,
    )
    strategy = TopkDropoutStrategy(
        signal=complete(scores),
        **{name: settings[name] for name in STRATEGY},
    )
    portfolios, _ = backtest(
        start_time=days["date"].iloc[0],
        end_time=days["date"].iloc[-1],
        strategy=strategy,
        executor={
            "class": "SimulatorExecutor",
            "module_path": "qlib.backtest.executor",
            "kwargs": {"time_per_step": "day", "generate_portfolio_metrics": True},
        },
        benchmark=benchmark,
        account=settings["account"],
        exchange_kwargs={
            "deal_price": "close",
            "open_cost": settings["buy_cost"],
            "close_cost": settings["sell_cost"],
            "min_cost": settings["min_cost"],
            "limit_threshold": settings["limit"],
            "trade_unit": settings["trade_unit"],
        },
    )
    report, _ = portfolios["1day"]
    return report.reset_index()


def ours(scores: pd.DataFrame, market: Market, settings: dict) -> Backtest:
    return run_backtest(
        scores,
        market,
        strategy=TopkDropout(**{name: settings[name] for name in STRATEGY}),
        exchange=Exchange(**{name: settings[name] for name in EXCHANGE}),
        account=settings["account"],
        benchmark="index",
        periods=252,
    )


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"limit": 0.095},
        {"limit": 0.095, "hold_thresh": 4},
        {"trade_unit": 100, "account": 1e6},
        {"risk_degree": 1.0, "account": 1e5},  # the costs are short of cash
        {"n_drop": 8},
        {"only_tradable": True, "limit": 0.095},
    ],
    ids=str,
)
@pytest.mark.thorough
def test_daily_returns_equal_those_of_the_reference(tmp_path: Path, change: dict) -> None:
    settings = {"account": 1e8, **STRATEGY, **EXCHANGE, **change}
    frame = prices()
    folder = write_qlib(tmp_path / "qlib", frame, extra=("change", "factor"))
    market = Market.from_qlib(folder, universe="all", benchmark="ST29")
    scores = random_scores(frame)
    result = ours(scores, market, settings)
    theirs = of_qlib(folder, scores, result.days, settings, "ST29")
    assert len(result.trades) > 200
    for name, column in COLUMNS.items():
        np.testing.assert_allclose(result.days[name], theirs[column], atol=1e-6, err_msg=name)
    np.testing.assert_allclose(result.days["cash"], theirs["cash"], rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(result.days["value"], theirs["account"], rtol=1e-6)
    assert_figures_equal(result, theirs, tolerance=1e-4)


def traded_prices(market: Market, first: str) -> pd.DataFrame:
    """A market as a long table from a day on, suspended days without prices."""
    rows = market.dates >= first
    panels = {name: panel.numpy()[rows] for name, panel in market.fields.items()}
    before = pd.DataFrame(panels["close"]).ffill().shift().to_numpy()
    panels |= {"factor": market.factor.numpy()[rows], "change": panels["close"] / before - 1}
    frame = pd.DataFrame(
        {
            "date": np.repeat(market.dates[rows], len(market.symbols)),
            "symbol": np.tile(market.symbols, rows.sum()),
            **{name: panel.ravel() for name, panel in panels.items()},
        }
    )
    index = pd.DataFrame({"date": market.dates[rows], "symbol": "INDEX", "factor": 1.0})
    level = market.benchmark.numpy()[rows]
    index = index.assign(**dict.fromkeys(("open", "high", "low", "close"), level), volume=1.0)
    return pd.concat([frame, index.assign(change=np.nan)])


@pytest.mark.slow  # Qlib takes half a minute
def test_years_of_csi300_equal_those_of_the_reference(tmp_path: Path) -> None:
    """With limits and trade units; the scores are what the week took off and a random number."""
    whole = Market.from_qlib(str(real_data("csi300")), universe="csi300", benchmark="SH000300")
    frame = traded_prices(whole, first="2016-06-01")
    folder = write_qlib(tmp_path / "qlib", frame, extra=("change", "factor"))
    market = Market.from_qlib(folder, universe="all", benchmark="INDEX")
    close = whole.field("close")
    week = (close.roll(5, 0) / close - 1).numpy()
    noise = 0.05 * np.random.default_rng(0).standard_normal(week.shape)
    wide = pd.DataFrame(
        np.where(whole.present.numpy(), week + noise, np.nan),
        index=pd.Index(whole.dates, name="date"),
        columns=pd.Index(whole.symbols, name="symbol"),
    )["2017":"2020-07-29"]
    scores = wide.melt(ignore_index=False, value_name="score").dropna().reset_index()
    settings = {"account": 1e8, **STRATEGY, **EXCHANGE, "topk": 50, "n_drop": 5}
    settings |= {"limit": 0.095, "trade_unit": 100}
    result = ours(scores, market, settings)
    theirs = of_qlib(folder, scores, result.days, settings, "INDEX")
    np.testing.assert_allclose(result.days["return"], theirs["return"], atol=1e-6)
    assert_figures_equal(result, theirs, tolerance=0.002)


def assert_figures_equal(result: Backtest, theirs: pd.DataFrame, tolerance: float) -> None:
    """Those of Qlib's risk analysis, summed and compounded.

    Its drawdowns do not see a loss on the first day: a day of 0 is put before.
    """
    from qlib.contrib.evaluate import risk_analysis

    figures = result.metrics
    for name, cost in (("with", theirs["cost"]), ("without", 0.0)):
        excess = theirs["return"] - theirs["bench"] - cost
        of = f"excess_return_{name}_cost"
        for mode, ending in (("sum", "sum"), ("product", "compounded")):
            risk = risk_analysis(excess, N=252, freq=None, mode=mode)["risk"]
            longer = pd.concat([pd.Series([0.0]), excess], ignore_index=True)
            fall = risk_analysis(longer, N=252, freq=None, mode=mode)["risk"]["max_drawdown"]
            pairs = {
                f"{of}/annualised_{ending}": risk["annualized_return"],
                f"{of}/max_drawdown_{ending}": fall,
            }
            if mode == "sum":
                pairs[f"{of}/information_ratio"] = risk["information_ratio"]
                pairs[f"{of}/std"] = risk["std"]
            for figure, value in pairs.items():
                assert figures[figure] == pytest.approx(value, abs=tolerance), figure
