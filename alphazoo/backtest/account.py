"""Account: cash and shares, and what trading does to them under the rules of an exchange."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from alphazoo.backtest.exchange import DUST, Exchange, Quotes, Stocks, Values

SLACK = 1e-3  # of a trade unit: float32 prices make 299.9999 shares of 300


class Fill(NamedTuple):
    """Trades of one side of a day: n stocks, signed adjusted shares, quotes, costs."""

    row: int
    stocks: Stocks
    changes: Values
    prices: Values
    factors: Values
    costs: Values


class DayEnd(NamedTuple):
    """The account after a close: in currency, and n positions in adjusted shares."""

    row: int
    cash: float
    value: float
    cost: float
    turnover: float
    stocks: Stocks
    amounts: Values
    prices: Values


class Account:
    """Cash and shares during a backtest. Trades are at the close and move no price.

    Attributes:
        cash: In currency, never below 0.
        amounts: [S], adjusted shares; below 0 is a short position.
        days_held: [S], closes that the position has seen, that of its purchase included.
        quotes: Those of the day.
        cost, turnover: Paid and traded (both sides) on the day, in currency.
        fills: The trades so far.
        days: The days so far.
        missed: Orders that were not filled, counted by reason.
    """

    def __init__(self, cash: float, n_stocks: int, exchange: Exchange) -> None:
        self.cash = cash
        self.exchange = exchange
        self.amounts = np.zeros(n_stocks)
        self.days_held = np.zeros(n_stocks, dtype=np.int64)
        self.fills: list[Fill] = []
        self.days: list[DayEnd] = []
        self.missed: Counter[str] = Counter()

    def open_day(self, row: int, quotes: Quotes) -> None:
        """Begin a day of the calendar with its quotes, [S]."""
        self.row, self.quotes = row, quotes
        self.cost = self.turnover = 0.0

    def close_day(self) -> None:
        """End the day: it counts for what is held."""
        self.days_held = np.where(self.amounts != 0, self.days_held + 1, 0)
        held = self.held
        positions = (held, self.amounts[held], self.quotes.price[held])
        day = DayEnd(self.row, self.cash, self.value, self.cost, self.turnover, *positions)
        self.days.append(day)

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

        So is what would fetch less than it costs to sell, where the cash does not cover that.
        """
        stocks, amounts = self._possible(stocks, -amounts)
        values = -amounts * self.quotes.price[stocks]
        costs = self.exchange.cost(values, self.exchange.sell_cost)
        loss = np.maximum(costs - values, 0)
        paid = (loss == 0) | (loss.cumsum() <= self.cash)
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
        amounts = np.where(spent > left, self._round(stocks, most, slack=0.0), amounts)
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

    def _round(self, stocks: Stocks, changes: Values, slack: float = SLACK) -> Values:
        """Towards zero to whole trade units, but for what closes a position."""
        unit, factor = self.exchange.trade_unit, self.quotes.factor[stocks]
        if unit is None:
            return changes
        whole = np.floor(np.abs(changes) * factor / unit + slack) * unit / factor
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
        prices, factors = self.quotes.price[stocks], self.quotes.factor[stocks]
        self.fills.append(Fill(self.row, stocks, changes, prices, factors, costs))
