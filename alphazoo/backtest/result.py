"""What a backtest gives: tables of days, positions and trades, risk figures, notes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from alphazoo.backtest.account import Account, DayEnd, Fill
from alphazoo.backtest.benchmark import Benchmark
from alphazoo.backtest.exchange import Values
from alphazoo.backtest.risk import definitions, risk_figures
from alphazoo.data.market import Market
from alphazoo.errors import shorten
from alphazoo.files import replacing

PAYING = 0.001  # dividends a year from which on they are mentioned
ENOUGH = 100  # days that tell how many there are in a year


@dataclass(frozen=True, eq=False)
class Backtest:
    """What became of an account.

    Attributes:
        days: One row per trading day: ``date``; ``return`` (before costs), ``cost`` and
            ``turnover`` (purchases and sales), as fractions of the account's value the day
            before; ``cash`` and ``value`` (cash and positions) after the close; ``benchmark``, its
            return, and beside an index ``universe``, that of the equally weighted universe.
            value / value before - 1 is return - cost.
        positions: After the close of a day: ``date``, ``symbol``, ``amount`` (adjusted shares,
            below 0 when short), ``price`` (the last adjusted close), ``value``, ``weight``
            (fraction of the account's value).
        trades: ``date``, ``symbol``, ``side`` (buy, sell), ``amount`` (adjusted shares),
            ``shares`` (unadjusted; NaN where the market has no factor), ``price``, ``value``,
            ``cost``, the last two in currency.
        benchmark: What it is.
        periods: Trading days per year, for annualised figures.
        dividend_yield: Beside an index the dividends in the stocks' returns, a fraction per year,
            see `alphazoo.backtest.dividends`; None without an index or where they are unknown.
        notes: What a reader of the figures should know.
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
        """Make the tables of an account.

        Args:
            account: After its last day.
            market: Its calendar and symbols.
            cash: What the account began with.
            benchmark: Of the same days.
            periods: Trading days per year.
        """
        days = _days(account, market, cash).assign(benchmark=benchmark.returns)
        if benchmark.universe is not None:
            days["universe"] = benchmark.universe
        paid = None if benchmark.dividends is None else benchmark.dividends * periods
        notes = [f"the benchmark is {benchmark.name}"]
        if paid is not None and paid >= PAYING:
            notes.append(
                f"the stocks' returns include dividends of about {paid:.1%} a year, "
                "which a price index lacks"
            )
        return cls(
            days=days,
            positions=_positions(account, market),
            trades=_trades(account, market),
            benchmark=benchmark.name,
            periods=periods,
            dividend_yield=paid,
            notes=(*notes, *_notes(account, market)),
        )

    @property
    def figures(self) -> dict[str, float]:
        """Risk figures by name, see `alphazoo.backtest.risk`."""
        figures = risk_figures(self.days, self.periods)
        if self.dividend_yield is not None:
            figures["dividend_yield"] = self.dividend_yield
        return figures

    @property
    def definitions(self) -> dict[str, str]:
        """What each of the figures is."""
        known = definitions(self.periods)
        return {name: known[name] for name in self.figures}

    @property
    def caveats(self) -> tuple[str, ...]:
        """What makes the figures look better, or other, than they are: sentences."""
        found = []
        paid = self.dividend_yield
        if paid is not None and paid >= PAYING:
            found.append(
                f"The stocks' returns include dividends of about {paid:.1%} a year. Unless the "
                "index is a total-return index, its returns lack them, and excess returns over it "
                "are flattered by about as much; those over the universe are not."
            )
        count = _days_per_year(self.days["date"])
        if len(self.days) >= ENOUGH and not 0.9 < count / self.periods < 1.1:
            found.append(
                f"The backtest has about {count:.0f} days a year, but figures per year are those "
                f"of {self.periods} (backtest.periods)."
            )
        return tuple(found)

    def write(self, folder: str | Path) -> None:
        """Write ``backtest.parquet`` (the days), ``positions.parquet`` and ``trades.parquet``."""
        tables = {"backtest": self.days, "positions": self.positions, "trades": self.trades}
        for name, table in tables.items():
            with replacing(Path(folder) / f"{name}.parquet") as file:
                table.to_parquet(file, index=False)


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
    """Date and symbol of every stock of some records."""
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
            f"{len(gone)} positions without a price at the end are kept at their last, "
            f"{share:.1%} of the account: {names}"
        )


def _fractions(account: Account, market: Market) -> Iterator[str]:
    """Trades of stocks whose unadjusted shares are not known."""
    if account.exchange.trade_unit is None or market.factor is None or not account.fills:
        return
    odd = ~(_joined(account.fills, "factors") > 0)
    if odd.any():
        stocks = np.concatenate([fill.stocks for fill in account.fills])[odd]
        names = shorten(market.symbols[stock] for stock in np.unique(stocks))
        yield f"{odd.sum():,} trades are of fractions of shares, without a factor: {names}"
