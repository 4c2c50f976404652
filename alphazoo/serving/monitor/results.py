"""Monitors of the results, which are known days later: the IC and the portfolio."""

import logging

import numpy as np
import pandas as pd

from alphazoo.backtest.result import Backtest
from alphazoo.config import instantiate
from alphazoo.errors import InputError
from alphazoo.evaluation.signals import newey_west_lags, t_statistic
from alphazoo.metrics import correlate
from alphazoo.runs.read import read_rows
from alphazoo.serving.monitor.live import Live
from alphazoo.serving.monitor.profile import Values
from alphazoo.serving.monitor.readings import readings

log = logging.getLogger(__name__)


def ic(live: Live) -> pd.DataFrame:
    """Return the CUSUM of the daily IC, on the day on which it is known.

    s = max(0, s - (IC - IC_0) / sd - k) with k = ICIR / 2. IC_0 and sd are those of the validation
    days. IC_0 is shrunk, because the best epoch was chosen by it; sd is multiplied by the ratio of
    the Newey-West standard error to that of independent days, because returns overlap.
    """
    known = live.reference.ic[np.isfinite(live.reference.ic)]
    expected, sd = live.limits.ic_shrinkage * known.mean(), _long_run_sd(known)
    returns = live.label.returns(live.market.field("close"))[live.rows.start :]
    daily = correlate(live.scores, returns.double().numpy())["ic"].to_numpy()
    value = np.full(len(daily), np.nan)
    icir = expected / sd if sd > 0 else 0.0
    if not icir > 0:
        return readings("ic", live.dates, value, detail="the validation IC is not above 0")
    delay, total = live.label.sell, 0.0
    for day, found in enumerate(daily[: len(daily) - delay]):
        if np.isfinite(found):
            total = max(0.0, total - (found - expected) / sd - icir / 2)
        value[day + delay] = total
    return readings("ic", live.dates, value, high=live.limits.cusum_limit(icir))


def _long_run_sd(x: Values) -> float:
    """Return the standard deviation that gives the Newey-West standard error of the mean."""
    t = t_statistic(x, newey_west_lags(len(x)))
    return float(max(abs(x.mean() / t) * np.sqrt(len(x)), x.std())) if t else float(x.std())


def portfolio(live: Live) -> pd.DataFrame:
    """Return the excess return of the last days, summed; an alarm after some days outside.

    Mean and band are those of the backtest in the run's report.
    """
    limits, empty = live.limits, np.full(len(live.rows), np.nan)
    file = live.run.folder / "backtest.parquet"
    if not live.run.config.get("backtest") or not file.is_file():
        return readings("portfolio", live.dates, empty, detail="the run has no backtest")
    try:
        usual = _excess(read_rows(file, ["date"], EXCESS))
        backtest = instantiate(live.run.config.backtest)
        days: Backtest = backtest(live.table[["date", "symbol", "score"]], live.market)
    except InputError as error:
        return readings("portfolio", live.dates, empty, detail=str(error))
    count = limits.portfolio_days
    if len(usual) < count:
        few = f"the backtest of the run has {len(usual)} days, fewer than portfolio_days={count}"
        return readings("portfolio", live.dates, empty, detail=few)
    daily = _excess(days.days).reindex(live.dates)
    value = daily.rolling(count, min_periods=count).sum().to_numpy()
    band = limits.portfolio_sd * usual.std() * np.sqrt(count)
    low, high = usual.mean() * count - band, usual.mean() * count + band
    outside = pd.Series((value < low) | (value > high))
    alarm = outside.rolling(limits.portfolio_outside).sum() >= limits.portfolio_outside
    return readings("portfolio", live.dates, value, low=low, high=high, alarm=alarm.to_numpy())


EXCESS = ("return", "cost", "benchmark")


def _excess(days: pd.DataFrame) -> "pd.Series[float]":
    return (days["return"] - days["cost"] - days["benchmark"]).set_axis(days["date"])
