"""The result of a backtest: tables of days, positions and trades, risk metrics and notes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from alphazoo.backtest.account import Account, DayEnd, Fill
from alphazoo.backtest.benchmark import Benchmark
from alphazoo.backtest.exchange import Values
from alphazoo.backtest.risk import definitions, risk_metrics
from alphazoo.errors import shorten
from alphazoo.files import write_table
from alphazoo.market.market import Market

MIN_YIELD = 0.001  # dividend yields per year from this on are mentioned
MIN_DAYS = 100  # shorter backtests do not check the number of days per year


@dataclass(frozen=True, eq=False)
class Backtest:
    """The account by day, positions, trades and metrics of a backtest.

    Attributes:
        days: One row per trading day: ``date``; ``return`` (before costs), ``cost`` and
            ``turnover`` (purchases and sales), as fractions of the account's previous value;
            ``cash`` and ``value`` (cash and positions) after the close, in currency; ``benchmark``,
            the return of the benchmark; and, if that is an index, ``universe``, the return of the
            equally weighted universe. Value / previous value - 1 equals return - cost.
        positions: Positions after the close of each day: ``date``, ``symbol``, ``amount`` (adjusted
            shares, negative if short), ``price`` (the last adjusted close), ``value`` (in
            currency), ``weight`` (fraction of the account's value).
        trades: ``date``, ``symbol``, ``side`` (buy, sell), ``amount`` (adjusted shares),
            ``shares`` (unadjusted; NaN if the market has no factor), ``price`` (adjusted),
            ``value`` and ``cost`` (in currency).
        benchmark: Describes the benchmark.
        periods: Trading days per year, for annualised metrics.
        dividend_yield: Dividends in the stocks' returns, a fraction per year, see
            `alphazoo.backtest.dividends`; None if the benchmark is not an index or they are
            unknown.
        notes: Notes for readers of the metrics.
    """

    days: pd.DataFrame
    positions: pd.DataFrame
    trades: pd.DataFrame
    benchmark: str
    periods: int
    dividend_yield: float | None
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        account: Account,
        market: Market,
        *,
        cash: float,
        benchmark: Benchmark,
        periods: int,
    ) -> Self:
        """Create the tables of an account.

        Args:
            account: The account after its last day.
            market: Gives the calendar and the symbols.
            cash: Initial cash of the account.
            benchmark: The benchmark of the same days.
            periods: Trading days per year.
        """
        days = _days(account, market, cash).assign(benchmark=benchmark.returns)
        if benchmark.universe is not None:
            days["universe"] = benchmark.universe
        dividends = None if benchmark.dividends is None else benchmark.dividends * periods
        notes = [f"the benchmark is {benchmark.name}"]
        if dividends is not None and dividends >= MIN_YIELD:
            notes.append(
                f"the stocks' returns include dividends of about {dividends:.1%} a year, "
                "which a price index excludes"
            )
        return cls(
            days=days,
            positions=_positions(account, market),
            trades=_trades(account, market),
            benchmark=benchmark.name,
            periods=periods,
            dividend_yield=dividends,
            notes=(*notes, *_notes(account, market)),
        )

    @property
    def metrics(self) -> dict[str, float]:
        """Risk metrics by name, see `alphazoo.backtest.risk`."""
        metrics = risk_metrics(self.days, self.periods)
        if self.dividend_yield is not None:
            metrics["dividend_yield"] = self.dividend_yield
        return metrics

    @property
    def definitions(self) -> dict[str, str]:
        """The definition of each of the metrics."""
        texts = definitions(self.periods)
        return {name: texts[name] for name in self.metrics}

    @property
    def caveats(self) -> tuple[str, ...]:
        """Sentences on why the metrics may be misleading."""
        caveats = []
        dividends = self.dividend_yield
        if dividends is not None and dividends >= MIN_YIELD:
            caveats.append(
                f"The stocks' returns include dividends of about {dividends:.1%} a year. Unless "
                "the index is a total-return index, its returns exclude dividends, and excess "
                "returns over it are overstated by about as much; those over the universe are not."
            )
        count = _days_per_year(self.days["date"])
        if len(self.days) >= MIN_DAYS and not 0.9 < count / self.periods < 1.1:
            caveats.append(
                f"The backtest has about {count:.0f} days a year, but annualised metrics assume "
                f"{self.periods} (backtest.periods)."
            )
        return tuple(caveats)

    def write(self, folder: str | Path) -> None:
        """Write ``backtest.parquet`` (the days), ``positions.parquet`` and ``trades.parquet``."""
        tables = {"backtest": self.days, "positions": self.positions, "trades": self.trades}
        for name, table in tables.items():
            write_table(table, Path(folder) / f"{name}.parquet")


def _days_per_year(dates: "pd.Series[pd.Timestamp]") -> float:
    years = (dates.iloc[-1] - dates.iloc[0]).days / 365.25
    return (len(dates) - 1) / years if years else np.nan


def _days(account: Account, market: Market, cash: float) -> pd.DataFrame:
    columns = ["row", "cash", "value", "cost", "turnover"]
    days = pd.DataFrame([day[:5] for day in account.days], columns=columns)
    before = days["value"].shift(fill_value=cash)
    return pd.DataFrame(
        {
            "date": market.dates[days["row"]],
            "return": (days["value"] + days["cost"]) / before - 1,
            "cost": days["cost"] / before,
            "turnover": days["turnover"] / before,
            "cash": days["cash"],
            "value": days["value"],
        }
    )


def _positions(account: Account, market: Market) -> pd.DataFrame:
    price, amount = _joined(account.days, "prices"), _joined(account.days, "amounts")
    accounts = np.repeat([day.value for day in account.days], _counts(account.days))
    value = amount * price
    return _rows(account.days, market).assign(
        amount=amount, price=price, value=value, weight=value / accounts
    )


def _trades(account: Account, market: Market) -> pd.DataFrame:
    changes, price = _joined(account.fills, "changes"), _joined(account.fills, "prices")
    amount = np.abs(changes)
    return _rows(account.fills, market).assign(
        side=np.where(changes > 0, "buy", "sell"),
        amount=amount,
        shares=amount * _joined(account.fills, "factors"),
        price=price,
        value=amount * price,
        cost=_joined(account.fills, "costs"),
    )


def _rows(records: Sequence[DayEnd] | Sequence[Fill], market: Market) -> pd.DataFrame:
    """Return the date and symbol of every stock of the records."""
    rows = np.repeat([record.row for record in records], _counts(records))
    stocks = np.concatenate([record.stocks for record in records])
    symbols = pd.Index(market.symbols)[stocks]
    return pd.DataFrame({"date": market.dates[rows], "symbol": symbols})


def _counts(records: Sequence[DayEnd] | Sequence[Fill]) -> list[int]:
    return [len(record.stocks) for record in records]


def _joined(records: Sequence[DayEnd] | Sequence[Fill], name: str) -> Values:
    return np.concatenate([getattr(record, name) for record in records])


def _notes(account: Account, market: Market) -> Iterator[str]:
    for reason, count in account.missed.items():
        if count:
            yield f"{count:,} orders were not filled: {reason}"
    yield from account.exchange.notes(market)
    yield from _fractions(account, market)
    held = account.held
    gone = held[~market.field("close")[account.row :, held].isfinite().any(dim=0).numpy()]
    if len(gone):
        share = account.amounts[gone] @ account.quotes.price[gone] / account.value
        names = shorten(market.symbols[stock] for stock in gone)
        yield (
            f"{len(gone)} positions without a price at the end are valued at their last price, "
            f"{share:.1%} of the account: {names}"
        )


def _fractions(account: Account, market: Market) -> Iterator[str]:
    """Describe the trades of stocks whose unadjusted shares are unknown."""
    if account.exchange.trade_unit is None or market.factor is None or not account.fills:
        return
    unknown = ~(_joined(account.fills, "factors") > 0)
    if unknown.any():
        stocks = np.concatenate([fill.stocks for fill in account.fills])[unknown]
        names = shorten(market.symbols[stock] for stock in np.unique(stocks))
        yield f"{unknown.sum():,} trades are in fractions of shares, without a factor: {names}"
