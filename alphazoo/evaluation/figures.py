"""Figures of an analysis, a backtest, a training run and a comparison; one function draws one."""

from collections.abc import Iterator, Mapping

import matplotlib as mpl
import matplotlib.dates
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from alphazoo.evaluation.drawing import FIRST, INK, SECOND, THIRD, draw

BASIS = 1e4  # basis points per unit


def signal_figures(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    """Yield name and figure for the tables of `alphazoo.evaluation.analysis.Analysis`."""
    daily = tables["daily"]
    yield "ic_cumulated", draw(_cumulated, daily)
    yield "ic_months", draw(_months, tables["months"]["ic"])
    yield "ic_distribution", draw(_distribution, daily["ic"])
    if "decay" in tables:
        yield "ic_decay", draw(_decay, tables["decay"])
    yield "quantiles", draw(_quantiles, tables["quantiles"])
    yield "quantiles_cumulated", draw(_quantile_curves, daily)
    if len(tables.get("concepts", ())):
        yield "concepts", draw(_concepts, tables["concepts"])


def backtest_figures(days: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    """Yield name and figure for the days of `alphazoo.backtest.result.Backtest`."""
    days = days.set_index("date")
    yield "value", draw(_value, days)
    yield "excess", draw(_excess, days["return"] - days["cost"] - days["benchmark"])
    yield "turnover", draw(_turnover, days["turnover"])


def training_figures(log: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    """Yield name and figure for ``logs/metrics.csv``; its last rows score the best epoch again."""
    trained = log.groupby("epoch").first().dropna(subset="train/loss")
    for name in ("loss", "ic"):
        columns = [column for column in (f"train/{name}", f"val/{name}") if column in log]
        yield f"training_{name}", draw(_training, trained[columns], name)


def compared_figures(
    ic: Mapping[str, "pd.Series[float]"], excess: Mapping[str, "pd.Series[float]"]
) -> Iterator[tuple[str, Figure]]:
    """Yield name and figure for curves by date of several runs; ``excess`` may be empty."""
    yield "compare_ic", draw(_curves, ic, "Cumulative daily IC", "sum of daily IC")
    if excess:
        title = "Excess return after costs, summed"
        yield "compare_excess", draw(_curves, excess, title, "fraction of the account")


def _cumulated(axes: Axes, daily: pd.DataFrame) -> None:
    axes.set_title("Cumulative daily IC")
    for name, label, color in (("ic", "IC", FIRST), ("rank_ic", "rank IC", SECOND)):
        axes.plot(daily.index, daily[name].fillna(0).cumsum(), color=color, label=label)
    axes.set_ylabel("sum of daily IC")
    format_dates(axes)


def _curves(axes: Axes, curves: Mapping[str, "pd.Series[float]"], title: str, unit: str) -> None:
    axes.set_title(title)
    for number, (name, curve) in enumerate(curves.items()):
        color, line = (FIRST, SECOND, THIRD, INK)[number % 4], ("-", "--", ":")[number // 4 % 3]
        axes.plot(curve.index, curve, color=color, linestyle=line, label=name[:40])
    axes.set_ylabel(unit)
    format_dates(axes)


def _months(axes: Axes, ic: "pd.Series[float]") -> None:
    axes.set_title("Mean IC by month")
    table = ic.unstack().reindex(columns=range(1, 13))
    largest = float(np.nanmax(np.abs(table.to_numpy()))) or 1.0
    for row, year in enumerate(table.index):
        for month, value in table.loc[year].dropna().items():
            color = FIRST if value > 0 else SECOND
            box = Rectangle((int(month) - 1, row), 1, 1, facecolor=color, edgecolor="none")
            box.set_alpha(0.12 + 0.7 * abs(value) / largest)
            axes.add_patch(box)
            axes.text(
                int(month) - 0.5, row + 0.5, str(round(100 * value)), ha="center", va="center"
            )
    axes.set(xlim=(0, 12), ylim=(len(table), 0), xlabel="month", ylabel="year (cells: IC x 100)")
    axes.set_xticks(np.arange(12) + 0.5, [str(month) for month in range(1, 13)])
    axes.set_yticks(np.arange(len(table)) + 0.5, [str(year) for year in table.index])
    axes.grid(visible=False)


def _distribution(axes: Axes, ic: "pd.Series[float]") -> None:
    axes.set_title("Distribution of daily IC")
    known = ic.dropna()
    axes.hist(known, bins=40, color=FIRST, alpha=0.75)
    axes.axvline(float(known.mean()), color=SECOND, label=f"mean {known.mean():.3f}")
    axes.axvline(0, color=INK, linewidth=0.8, label=f"above 0 on {(known > 0).mean():.0%} of days")
    axes.set(xlabel="daily IC", ylabel="days")


def _decay(axes: Axes, decay: pd.DataFrame) -> None:
    axes.set_title("IC by horizon")
    axes.bar(decay.index, decay["ic"], color=FIRST, alpha=0.75, label="return from t+h to t+h+1")
    axes.plot(decay.index, decay["held_ic"], "o-", ms=3, color=SECOND, label="from t+1 to t+1+h")
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set(xlabel="horizon h, trading days", ylabel="mean IC")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _quantiles(axes: Axes, table: pd.DataFrame) -> None:
    axes.set_title("Return by score quantile")
    axes.bar(table.index, BASIS * table["excess"], color=FIRST, alpha=0.75)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set(xlabel="quantile, lowest to highest score", ylabel="minus daily mean, bp")


def _quantile_curves(axes: Axes, daily: pd.DataFrame) -> None:
    axes.set_title("Quantile returns minus daily mean")
    names = [name for name in daily if str(name)[0] == "q" and str(name)[1:].isdigit()]
    for index, name in enumerate(names):
        curve = (daily[name] - daily["mean_return"]).fillna(0).cumsum()
        ends = {0: (SECOND, 1.0), len(names) - 1: (FIRST, 1.0)}
        color, alpha = ends.get(index, (INK, 0.25 + 0.4 * index / len(names)))
        axes.plot(daily.index, curve, color=color, alpha=alpha, label=str(name))
    axes.set_ylabel("sum of returns")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    format_dates(axes)


def _concepts(axes: Axes, table: pd.DataFrame) -> None:
    axes.set_title("IC by concept")
    ends = table.sort_values("ic")
    if len(ends) > 12:
        ends = pd.concat([ends[:6], ends[-6:]])
    axes.barh([str(name)[:28] for name in ends.index], ends["ic"], color=FIRST, alpha=0.75)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlabel("mean IC among members")


def _value(axes: Axes, days: pd.DataFrame) -> None:
    axes.set_title("Portfolio value")
    after = days["return"] - days["cost"]
    for returns, label, color in (
        (after, "after costs", FIRST),
        (days["return"], "before costs", THIRD),
        (days["benchmark"], "benchmark", SECOND),
    ):
        axes.plot(days.index, (1 + returns).cumprod(), color=color, label=label)
    axes.set_ylabel("value, 1 at the start")
    format_dates(axes)


def _excess(axes: Axes, excess: "pd.Series[float]") -> None:
    axes.set_title("Excess return after costs, summed")
    curve = excess.cumsum()
    fall = curve - curve.cummax().clip(lower=0)
    axes.plot(curve.index, curve, color=FIRST, label="excess return")
    axes.fill_between(curve.index, fall, 0, color=SECOND, alpha=0.4, label="drawdown", linewidth=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylabel("fraction of the account")
    format_dates(axes)


def _turnover(axes: Axes, turnover: "pd.Series[float]") -> None:
    axes.set_title("Turnover")
    axes.plot(turnover.index, turnover, color=FIRST, alpha=0.3, linewidth=0.7, label="daily")
    month = turnover.rolling(21, min_periods=1).mean()
    axes.plot(month.index, month, color=SECOND, label="21-day mean")
    axes.set_ylim(0, float(turnover.iloc[1:].max()) * 1.15 if len(turnover) > 1 else None)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylabel("bought + sold, of the account")
    format_dates(axes)


def _training(axes: Axes, curves: pd.DataFrame, name: str) -> None:
    for column, color in zip(curves, (SECOND, FIRST)[-len(curves.columns) :], strict=True):
        label = {"train": "training", "val": "validation"}[str(column).split("/")[0]]
        axes.plot(curves.index + 1, curves[column], "o-", ms=3, color=color, label=label)
    axes.set_title({"loss": "Loss by epoch", "ic": "IC by epoch"}[name])
    axes.set(xlabel="epoch", ylabel={"loss": "mean squared error", "ic": "validation IC"}[name])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def format_dates(axes: Axes) -> None:
    """Label the x-axis with few and short dates."""
    axes.xaxis.set_major_locator(mpl.dates.AutoDateLocator(minticks=3, maxticks=7))
    axes.xaxis.set_major_formatter(
        mpl.dates.ConciseDateFormatter(axes.xaxis.get_major_locator(), show_offset=False)
    )
    axes.margins(x=0.01)
