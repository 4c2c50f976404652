"""Risk metrics of daily returns; reports show the docstring of each metric as its definition.

Metrics are given both for summed and for compounded returns, because over years these differ by
more than models do. The table of Qlib's benchmarks uses sums, and its annualised return is the mean
times 252. By default, `qlib.contrib.evaluate.risk_analysis` of pyqlib 0.9.7 uses 238 days per year
for daily returns; pass ``N=252`` to compare. It also measures drawdowns from the end of the first
day; here they are measured from its start.
"""

import numpy as np
import pandas as pd

from alphazoo.backtest.exchange import Values

SERIES = {
    "excess_return_with_cost": "portfolio return after costs minus benchmark return",
    "excess_return_without_cost": "portfolio return before costs minus benchmark return",
    "excess_return_over_universe_with_cost": "portfolio return after costs minus return of the "
    "equally weighted universe, both including dividends",
    "return_with_cost": "portfolio return after costs",
    "return_without_cost": "portfolio return before costs",
    "benchmark_return": "benchmark return",
    "universe_return": "return of the equally weighted universe",
}


def risk_metrics(days: pd.DataFrame, periods: int) -> dict[str, float]:
    """Compute every metric of every series, and the mean costs and turnover.

    Args:
        days: Columns ``return`` (before costs), ``cost``, ``benchmark`` and ``turnover``, and
            ``universe`` if the benchmark is an index: fractions per day, as in
            `alphazoo.backtest.result.Backtest`.
        periods: Trading days per year.

    Returns:
        Metrics by name, such as ``excess_return_with_cost/annualised_sum``; NaN where undefined.
        Metrics of the universe are included if ``days`` has the column.
    """
    after = days["return"] - days["cost"]
    series = {
        "excess_return_with_cost": after - days["benchmark"],
        "excess_return_without_cost": days["return"] - days["benchmark"],
        "return_with_cost": after,
        "return_without_cost": days["return"],
        "benchmark_return": days["benchmark"],
    }
    if "universe" in days:
        series["excess_return_over_universe_with_cost"] = after - days["universe"]
        series["universe_return"] = days["universe"]
    metrics = {
        f"{name}/{metric.__name__}": metric(series[name].to_numpy(np.float64), periods)
        for name in SERIES
        if name in series
        for metric in METRICS
    }
    return metrics | {
        "cost/annualised_sum": annualised_sum(days["cost"].to_numpy(np.float64), periods),
        "turnover/mean": mean(days["turnover"].to_numpy(np.float64), periods),
        "days": len(days),
    }


def definitions(periods: int) -> dict[str, str]:
    """Return the definition of each metric of `risk_metrics`, by name."""
    texts = {
        f"{name}/{metric.__name__}": f"{metric.__doc__} Of the daily {text}."
        for name, text in SERIES.items()
        for metric in METRICS
    }
    texts |= {
        "cost/annualised_sum": f"{annualised_sum.__doc__} Of the daily costs / previous account "
        "value.",
        "turnover/mean": f"{mean.__doc__} Of the daily purchases and sales / previous account "
        "value.",
        "dividend_yield": f"{annualised_sum.__doc__} Of the dividends in the returns of universe "
        "members: growth of adjusted / raw price below 9.9% a day.",
        "days": "Number of trading days, the day of the first purchases included.",
    }
    return {name: text.replace("periods", f"{periods}") for name, text in texts.items()}


def mean(r: Values, periods: int) -> float:
    """Mean over days."""
    return float(r.mean())


def std(r: Values, periods: int) -> float:
    """Standard deviation over days (ddof 1)."""
    return float(r.std(ddof=1)) if len(r) > 1 else np.nan


def annualised_sum(r: Values, periods: int) -> float:
    """Mean over days times periods; returns are summed, not compounded."""
    return float(r.mean() * periods)


def annualised_compounded(r: Values, periods: int) -> float:
    """Product of 1 + value over days, to the power of periods / days, minus 1."""
    return float(_growth(r)[-1] ** (periods / len(r)) - 1)


def information_ratio(r: Values, periods: int) -> float:
    """Mean / standard deviation (ddof 1) over days, times the square root of periods."""
    deviation = std(r, periods)
    return float(r.mean() / deviation * np.sqrt(periods)) if deviation > 0 else np.nan


def max_drawdown_sum(r: Values, periods: int) -> float:
    """Largest fall of the cumulative sum below its previous maximum, starting from 0."""
    curve = np.append(0.0, r.cumsum())
    return float((curve - np.maximum.accumulate(curve)).min())


def max_drawdown_compounded(r: Values, periods: int) -> float:
    """Largest fall of the product of 1 + value relative to its previous maximum, starting at 1."""
    curve = _growth(r)
    return float((curve / np.maximum.accumulate(curve) - 1).min())


METRICS = (
    mean,
    std,
    annualised_sum,
    annualised_compounded,
    information_ratio,
    max_drawdown_sum,
    max_drawdown_compounded,
)


def _growth(r: Values) -> Values:
    """Return the cumulative product, [d + 1], starting from 1; it stays 0 after a total loss."""
    return np.append(1.0, np.maximum(1 + r, 0).cumprod())
