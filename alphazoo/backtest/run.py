"""The backtest: a strategy trades an account by the scores of the day before, day by day."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from alphazoo.backtest.account import Account, Exchange, Quotes, Stocks, Values
from alphazoo.backtest.benchmark import benchmark_return
from alphazoo.backtest.risk import definitions, risk_figures
from alphazoo.backtest.scores import score_panel
from alphazoo.backtest.strategies import Strategy
from alphazoo.data.market import Market
from alphazoo.errors import InputError, shorten
from alphazoo.files import replacing

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Backtest:
    """What became of an account.

    Attributes:
        days: One row per trading day: ``date``; ``return`` (before costs), ``cost`` and
            ``turnover`` (purchases and sales), as fractions of the account's value the day
            before; ``cash`` and ``value`` (cash and positions) after the close; ``benchmark``, its
            return. value / value before - 1 is return - cost.
        positions: After the close of a day: ``date``, ``symbol``, ``amount`` (adjusted shares,
            below 0 when short), ``price`` (the last adjusted close), ``value``, ``weight``
            (fraction of the account's value).
        trades: ``date``, ``symbol``, ``side`` (buy, sell), ``amount`` (adjusted shares),
            ``shares`` (unadjusted; NaN where the market has no factor), ``price``, ``value``,
            ``cost``, the last two in currency.
        benchmark: What it is.
        periods: Trading days per year, for annualised figures.
        notes: What a reader of the figures should know.
    """

    days: pd.DataFrame
    positions: pd.DataFrame
    trades: pd.DataFrame
    benchmark: str
    periods: int
    notes: tuple[str, ...]

    @property
    def figures(self) -> dict[str, float]:
        """Risk figures by name, see `alphazoo.backtest.risk`."""
        return risk_figures(self.days, self.periods)

    @property
    def definitions(self) -> dict[str, str]:
        """What each of the figures is."""
        return definitions(self.periods)

    def write(self, folder: str | Path) -> None:
        """Write ``backtest.parquet`` (the days), ``positions.parquet`` and ``trades.parquet``."""
        tables = {"backtest": self.days, "positions": self.positions, "trades": self.trades}
        for name, table in tables.items():
            with replacing(Path(folder) / f"{name}.parquet") as file:
                table.to_parquet(file, index=False)


def run_backtest(
    scores: pd.DataFrame,
    market: Market,
    *,
    strategy: Strategy,
    exchange: Exchange,
    account: float,
    benchmark: str | None,
    periods: int,
    split: str | None = None,
) -> Backtest:
    """Trade by scores.

    The score of a day is known after its close, so that it is traded on at the close of the next
    day, and earns from there on: the timing of the label with ``buy=1, sell=2``. The first day is
    the one after the first scores; the last is the second after the last scores, on which nothing
    is traded, so that all trades have earned. A position whose price is missing keeps its last
    one; if that was the last of all, it stays to the end and fills a place.

    Args:
        scores: Columns ``date``, ``symbol``, ``score``, such as ``scores.parquet`` of a run.
        market: Prices, universe, benchmark.
        strategy: What to trade.
        exchange: What trades cost and which are possible.
        account: Cash at the start.
        benchmark: ``"index"``, ``"universe"`` or ``"cash"``, see `benchmark_return`; None: cash
            for a market-neutral strategy, else the index of a market that has one, else the
            universe.
        periods: Trading days per year.
        split: Which rows of scores with a column ``split`` to take; None: all.

    Raises:
        InputError: The scores do not fit the market, are too few or all equal on a day, no trading
            day follows them, the benchmark is missing or short, or the account is lost.
    """
    if not account > 0:
        raise InputError(f"backtest.account is above 0, got {account}")
    scored, panel = score_panel(scores, market, split=split, least=strategy.least)
    rows = range(scored.start + 1, min(scored.stop + 2, len(market.dates)))
    if not rows:
        raise InputError(
            f"no trading day follows the scores of {market.dates[scored.start]:%Y-%m-%d}"
        )
    if benchmark is None:
        index = "universe" if market.benchmark is None else "index"
        benchmark = "cash" if strategy.neutral else index
    name, benchmark_returns = benchmark_return(market, rows, benchmark)
    quotes = exchange.quotes(market, rows)
    book = Account(float(account), len(market.symbols), exchange)
    days, positions = [], []
    before = book.cash
    for day, row in enumerate(rows):
        book.open_day(row, Quotes(*(panel[day] for panel in quotes)))
        if day < len(panel) and np.isfinite(panel[day]).any():
            strategy.trade(book, panel[day])
        book.close_day()
        after, held = book.value, book.held
        if not after > 0:
            raise InputError(f"the account of {account} is lost on {market.dates[row]:%Y-%m-%d}")
        earned = (after + book.cost) / before - 1
        days.append((earned, book.cost / before, book.turnover / before, book.cash, after))
        positions.append((row, held, book.amounts[held], book.quotes.price[held], after))
        before = after
    table = pd.DataFrame(days, columns=["return", "cost", "turnover", "cash", "value"])
    table.insert(0, "date", market.dates[rows.start : rows.stop])
    return Backtest(
        days=table.assign(benchmark=benchmark_returns),
        positions=_positions(positions, market),
        trades=_trades(book, market, quotes, rows),
        benchmark=name,
        periods=periods,
        notes=tuple(_notes(book, market, name, rows)),
    )


def _positions(
    days: Sequence[tuple[int, Stocks, Values, Values, float]], market: Market
) -> pd.DataFrame:
    rows, stocks, amounts, prices, accounts = zip(*days, strict=True)
    counts = [len(held) for held in stocks]
    table = pd.DataFrame(
        {
            "date": market.dates[np.repeat(rows, counts)],
            "symbol": pd.Index(market.symbols)[np.concatenate(stocks)],
            "amount": np.concatenate(amounts),
            "price": np.concatenate(prices),
        }
    )
    value = table["amount"] * table["price"]
    return table.assign(value=value, weight=value / np.repeat(accounts, counts))


def _trades(book: Account, market: Market, quotes: Quotes, rows: range) -> pd.DataFrame:
    none = (rows.start, np.empty(0, np.intp), np.empty(0), np.empty(0))
    days, stocks, changes, costs = zip(*(book.trades or [none]), strict=True)
    row = np.repeat(days, [len(traded) for traded in stocks])
    stock, change = np.concatenate(stocks), np.concatenate(changes)
    price = quotes.price[row - rows.start, stock]
    amount = np.abs(change)
    return pd.DataFrame(
        {
            "date": market.dates[row],
            "symbol": pd.Index(market.symbols)[stock],
            "side": np.where(change > 0, "buy", "sell"),
            "amount": amount,
            "shares": amount * quotes.factor[row - rows.start, stock],
            "price": price,
            "value": amount * price,
            "cost": np.concatenate(costs),
        }
    )


def _notes(book: Account, market: Market, benchmark: str, rows: range) -> Iterator[str]:
    yield f"the benchmark is {benchmark}"
    for reason, count in book.missed.items():
        if count:
            yield f"{count:,} orders were not filled: {reason}"
    if book.exchange.trade_unit is not None and market.factor is None:
        yield "fractions of shares are traded: the market has no factor that gives whole ones"
    priced = market.field("close")[rows.start :, book.held].isfinite().numpy()
    gone = book.held[~priced[len(rows) - 1 :].any(axis=0)]
    if len(gone):
        names = shorten(market.symbols[stock] for stock in gone)
        yield f"{len(gone)} positions without a price at the end are kept at their last: {names}"
