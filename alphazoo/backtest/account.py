"""Account: cash and shares, and what trading does to them under the rules of an exchange."""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.data.market import Market
from alphazoo.errors import InputError

Values = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Stocks = npt.NDArray[np.intp]  # columns of the universe

DUST = 1e-5  # a trade of no more, in currency, is none
SLACK = 1e-3  # of a trade unit: float32 prices make 299.9999 shares of 300


class Quotes(NamedTuple):
    """What there is to trade: [d, S] for some days, or [S] for one of them.

    Attributes:
        price: The last adjusted close; NaN before the first one.
        tradable: Whether the stock has a price that day and is not at its limit.
        factor: Adjusted price / raw price; NaN where unknown.
    """

    price: Values
    tradable: Flags
    factor: Values


@dataclass(frozen=True)
class Exchange:
    """What trades cost, and which are possible.

    Attributes:
        buy_cost: Share of a purchase's value.
        sell_cost: Share of a sale's value.
        min_cost: Least cost of a trade, in currency.
        limit: A stock that closes so far from its previous close, or further, can be neither
            bought nor sold that day (0.095 is 9.5%); None: there is no limit.
        trade_unit: Unadjusted shares that trades are multiples of, rounded towards zero, but for
            one that closes a position; None: any fraction. Where the market has no factor, its
            shares are not known and fractions are traded.
    """

    buy_cost: float
    sell_cost: float
    min_cost: float
    limit: float | None
    trade_unit: float | None

    def __post_init__(self) -> None:
        for name in ("buy_cost", "sell_cost"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(
                    f"exchange.{name} is a share from 0 to below 1, got {getattr(self, name)}"
                )
        if not self.min_cost >= 0:
            raise InputError(f"exchange.min_cost is 0 or more, got {self.min_cost}")
        for name in ("limit", "trade_unit"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"exchange.{name} is above 0, or null for none, got {value}")

    def quotes(self, market: Market, rows: range) -> Quotes:
        """Prices of some days, and which stocks can be traded then: [d, S]."""
        history = pd.DataFrame(market.field("close")[: rows.stop].numpy())
        last = history.ffill().to_numpy()[rows.start - 1 :].astype(np.float64)
        price, before = last[1:], last[:-1]
        tradable = history.notna().to_numpy()[rows.start :]
        if self.limit is not None:
            tradable = tradable & ~(np.abs(price / before - 1) >= self.limit)
        if market.factor is None:
            return Quotes(price, tradable, np.full_like(price, np.nan))
        return Quotes(price, tradable, market.factor[rows.start : rows.stop].double().numpy())

    def cost(self, values: Values, rate: float) -> Values:
        """What trades of some values cost, at the rate of their side."""
        return np.where(values > DUST, np.maximum(values * rate, self.min_cost), 0.0)


class Account:
    """Cash and shares during a backtest. Trades are at the close and move no price.

    Attributes:
        cash: In currency, never below 0.
        amounts: [S], adjusted shares; below 0 is a short position.
        days_held: [S], closes that the position has seen, that of its purchase included.
        quotes: Those of the day.
        cost, turnover: Paid and traded (both sides) on the day, in currency.
        trades: One entry per side and time: row of the calendar, stocks, amounts, costs.
        missed: Orders that were not filled, counted by reason.
    """

    def __init__(self, cash: float, n_stocks: int, exchange: Exchange) -> None:
        self.cash = cash
        self.exchange = exchange
        self.amounts = np.zeros(n_stocks)
        self.days_held = np.zeros(n_stocks, dtype=np.int64)
        self.trades: list[tuple[int, Stocks, Values, Values]] = []
        self.missed: Counter[str] = Counter()

    def open_day(self, row: int, quotes: Quotes) -> None:
        """Begin a day of the calendar with its quotes, [S]."""
        self.row, self.quotes = row, quotes
        self.cost = self.turnover = 0.0

    def close_day(self) -> None:
        """Count the day for what is held at its end."""
        self.days_held = np.where(self.amounts != 0, self.days_held + 1, 0)

    @property
    def held(self) -> Stocks:
        """Stocks with a position, increasing."""
        return np.flatnonzero(self.amounts)

    @property
    def value(self) -> float:
        """Cash and positions, at the last price of each."""
        held = self.held
        return self.cash + float(self.amounts[held] @ self.quotes.price[held])

    def sell(self, stocks: Stocks, amounts: Values) -> None:
        """Sell adjusted shares of stocks; what cannot be traded is kept.

        Nor is a sale made whose cost cash and proceeds do not cover.
        """
        stocks, amounts = self._possible(stocks, -amounts)
        values = -amounts * self.quotes.price[stocks]
        costs = self.exchange.cost(values, self.exchange.sell_cost)
        paid = self.cash + values >= costs
        self._fill(stocks, np.where(paid, amounts, 0.0), costs)

    def buy(self, stocks: Stocks, amounts: Values) -> None:
        """Buy adjusted shares of stocks, in this order, until the cash is spent.

        The first that the cash does not cover is bought in part, those after it are not.
        """
        stocks, amounts = self._possible(stocks, amounts)
        price, rate = self.quotes.price[stocks], self.exchange.buy_cost
        spent = amounts * price + self.exchange.cost(amounts * price, rate)
        left = self.cash - (spent.cumsum() - spent)
        most = np.minimum(left / (1 + rate), left - self.exchange.min_cost).clip(0) / price
        amounts = np.where(spent > left, self._round(stocks, most), amounts)
        self._fill(stocks, amounts, self.exchange.cost(amounts * price, rate))

    def rebalance(self, weights: Values) -> None:
        """Trade to weights [S] of the account's value, as far as stocks can be traded."""
        stocks = np.flatnonzero((weights != 0) | (self.amounts != 0))
        target = np.zeros(len(stocks))
        wanted = weights[stocks] != 0
        target[wanted] = weights[stocks][wanted] * self.value / self.quotes.price[stocks][wanted]
        change = target - self.amounts[stocks]
        down, up = change < 0, ~(change <= 0)  # a stock without price is among the latter
        self.sell(stocks[down], -change[down])
        self.buy(stocks[up], change[up])

    def _possible(self, stocks: Stocks, changes: Values) -> tuple[Stocks, Values]:
        """Those that can be traded, and by how many shares."""
        tradable = self.quotes.tradable[stocks]
        self.missed["suspended or at the limit"] += int((~tradable).sum())
        stocks = stocks[tradable]
        return stocks, self._round(stocks, changes[tradable])

    def _round(self, stocks: Stocks, changes: Values) -> Values:
        """Towards zero to whole trade units, but for what closes a position."""
        unit, factor = self.exchange.trade_unit, self.quotes.factor[stocks]
        if unit is None:
            return changes
        whole = np.floor(np.abs(changes) * factor / unit + SLACK) * unit / factor
        any_size = (changes == -self.amounts[stocks]) | ~(factor > 0)
        return np.where(any_size, changes, np.copysign(whole, changes))

    def _fill(self, stocks: Stocks, changes: Values, costs: Values) -> None:
        values = changes * self.quotes.price[stocks]
        some = np.abs(values) > DUST
        self.missed["below a trade unit or without cash"] += int((~some).sum())
        stocks, changes, costs, values = stocks[some], changes[some], costs[some], values[some]
        self.amounts[stocks] += changes
        self.cash -= float(values.sum() + costs.sum())
        self.cost += float(costs.sum())
        self.turnover += float(np.abs(values).sum())
        self.trades.append((self.row, stocks, changes, costs))
