"""The signal analysis of a score table: how its scores relate to raw forward returns."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alphazoo.data.scores import locate_rows, read_scores
from alphazoo.errors import InputError
from alphazoo.evaluation.definitions import SIGNALS
from alphazoo.evaluation.signals import (
    autocorrelation,
    coverage,
    group_means,
    ic_by_concept,
    ic_decay,
    long_short,
    newey_west_lags,
    quantiles,
    t_statistic,
    turnover,
)
from alphazoo.files import write_json, write_table
from alphazoo.market.concepts import Concepts
from alphazoo.market.market import Market
from alphazoo.metrics import Panel, daily_ic, day_ranks, summarise_days, to_panel

LAGS = (1, 2, 3, 5, 10, 20)  # of the autocorrelation, in scored days


@dataclass(frozen=True, eq=False)
class Analysis:
    """Metrics and tables of a score table; `alphazoo.evaluation.definitions.SIGNALS` defines them.

    Attributes:
        metrics: Metrics by name; NaN if undefined.
        daily: By date: ``ic rank_ic stocks q1 q2 ... mean_return spread long_short autocorrelation
            turnover`` and, with a market, ``coverage``.
        quantiles: By quantile: ``return excess``.
        years: By year: ``ic icir rank_ic rank_icir spread long_short days``.
        months: The same columns by year and month; ``months["rank_ic"].unstack()`` has one row per
            year.
        autocorrelations: By lag: ``autocorrelation``.
        decay: By horizon: ``ic rank_ic held_ic held_rank_ic``; None without a market.
        concepts: By concept: ``ic rank_ic stocks days``; None without concepts.
    """

    metrics: Mapping[str, float]
    daily: pd.DataFrame
    quantiles: pd.DataFrame
    years: pd.DataFrame
    months: pd.DataFrame
    autocorrelations: pd.DataFrame
    decay: pd.DataFrame | None
    concepts: pd.DataFrame | None

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables that exist, by name."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: part for name, part in parts.items() if isinstance(part, pd.DataFrame)}


def analyse(
    scores: pd.DataFrame,
    market: Market | None = None,
    *,
    concepts: Concepts | None = None,
    holding: int = 1,
    n_quantiles: int = 5,
    n_horizons: int = 20,
    min_stocks: int = 10,
) -> Analysis:
    """Analyse scores against raw forward returns.

    Args:
        scores: Columns ``date symbol score return``, see `read_scores` and `join_returns`.
        market: The market of the scores; needed for decay, coverage and concepts.
        concepts: Concepts of that market.
        holding: Trading days that a return covers, ``label.sell - label.buy``.
        n_quantiles: Number of quantiles into which the stocks of a day are split by score.
        n_horizons: The last horizon of the decay, in trading days; 0 for no decay.
        min_stocks: Least number of a concept's members with a score and a return for a day to
            count.

    Raises:
        InputError: The table is invalid, see `read_scores`, has no returns, or has a date or symbol
            that the market lacks; or concepts are given without a market.
    """
    if n_quantiles < 2:
        raise InputError(f"n_quantiles must be at least 2, got {n_quantiles}")
    if concepts and not market:
        raise InputError("concepts need the market whose days and stocks they refer to")
    table = read_scores(scores)
    if "return" not in table:
        raise InputError("the scores have no column 'return'; join_returns adds it")

    days = pd.factorize(table["date"], sort=True)[0]
    rows, stocks = (
        locate_rows(table, market) if market else (days, pd.factorize(table["symbol"])[0])
    )
    width = len(market.symbols) if market else 0
    scored, returns = (to_panel(table[x], days, stocks, width) for x in ("score", "return"))
    ranks = day_ranks(scored)
    scored_rows = np.unique(rows)  # [D], calendar rows of the scored days
    daily = daily_ic(table)
    daily = daily.join(_by_day(scored, ranks, returns, n_quantiles).set_index(daily.index))
    if market:
        daily["coverage"] = coverage(scored, market.present.numpy()[scored_rows])
    metrics = _metrics(daily, holding)
    if market:
        metrics["unscored_days"] = int(np.ptp(scored_rows)) + 1 - len(scored_rows)

    return Analysis(
        metrics=metrics,
        daily=daily,
        quantiles=_by_quantile(daily, n_quantiles),
        years=_by_period(daily, ["year"]),
        months=_by_period(daily, ["year", "month"]),
        autocorrelations=_by_lag(ranks),
        decay=ic_decay(table, rows, stocks, market, n_horizons) if market else None,
        concepts=ic_by_concept(scored, returns, scored_rows, concepts, min_stocks)
        if concepts and concepts.names
        else None,
    )


def _by_day(scored: Panel, ranks: Panel, returns: Panel, n_quantiles: int) -> pd.DataFrame:
    """Return the columns of ``daily`` other than the IC, from panels [D, S]."""
    pairs = np.where(np.isfinite(returns), scored, np.nan)
    pair_ranks = day_ranks(pairs)
    means = group_means(quantiles(pair_ranks, n_quantiles), returns, n_quantiles)
    top = quantiles(ranks, n_quantiles) == n_quantiles
    return pd.DataFrame(
        {
            **{f"q{number}": mean for number, mean in enumerate(means.T, start=1)},
            "mean_return": group_means(np.isfinite(pairs).astype(int), returns, 1).squeeze(1),
            "spread": means[:, -1] - means[:, 0],
            "long_short": long_short(pair_ranks, returns),
            "autocorrelation": autocorrelation(ranks, 1),
            "turnover": turnover(top),
        }
    )


def _metrics(daily: pd.DataFrame, holding: int) -> dict[str, float]:
    metrics = summarise_days(daily)
    lags = max(newey_west_lags(len(daily)), holding - 1)
    for name in ("ic", "rank_ic"):
        metrics[f"{name}_positive"] = float((daily[name].dropna() > 0).mean())
    for name in ("ic", "rank_ic", "long_short"):
        metrics[f"{name}_t"] = t_statistic(daily[name].to_numpy(), lags)
    metrics["newey_west_lags"] = lags
    averaged = ("stocks", "spread", "long_short", "autocorrelation", "turnover", "coverage")
    return metrics | {name: float(daily[name].mean()) for name in averaged if name in daily}


def _by_quantile(daily: pd.DataFrame, n_quantiles: int) -> pd.DataFrame:
    names = [f"q{number}" for number in range(1, n_quantiles + 1)]
    returns = daily[names]
    excess = returns.sub(daily["mean_return"], axis=0)
    table = pd.DataFrame({"return": returns.mean(), "excess": excess.mean()})
    return table.rename_axis("quantile")


def _by_period(daily: pd.DataFrame, parts: list[str]) -> pd.DataFrame:
    """Return the means over the days of each period; ``parts`` are attributes of a date."""
    dates = pd.DatetimeIndex(daily.index)
    periods = daily.groupby([pd.Index(getattr(dates, part), name=part) for part in parts])
    means = periods[["ic", "rank_ic", "spread", "long_short"]].mean()
    ratios = means[["ic", "rank_ic"]] / periods[["ic", "rank_ic"]].std()
    table = means.assign(icir=ratios["ic"], rank_icir=ratios["rank_ic"], days=periods["ic"].count())
    return table[["ic", "icir", "rank_ic", "rank_icir", "spread", "long_short", "days"]]


def _by_lag(ranks: Panel) -> pd.DataFrame:
    means = [pd.Series(autocorrelation(ranks, lag)).mean() for lag in LAGS]
    return pd.DataFrame({"autocorrelation": means}, index=pd.Index(LAGS, name="lag"))


def write_analysis(folder: str | Path, analysis: Analysis) -> None:
    """Write ``analysis.json``, the whole analysis with definitions, and one Parquet file per table.

    Undefined metrics are null.
    """
    folder = Path(folder)
    tables = {name: table.reset_index() for name, table in analysis.tables.items()}
    for name, table in tables.items():
        write_table(table, folder / f"{name}.parquet")
    content = {
        "metrics": dict(analysis.metrics),
        "tables": {name: _records(table) for name, table in tables.items()},
        "definitions": SIGNALS,
    }
    write_json(folder / "analysis.json", content)


def _records(table: pd.DataFrame) -> list[dict[Hashable, Any]]:
    if "date" in table:
        table = table.assign(date=table["date"].dt.strftime("%Y-%m-%d"))
    return table.to_dict("records")
