"""The account of a backtest: cash and positions, which trades change by an exchange's rules."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from alphazoo.backtest.exchange import DUST, Exchange, Quotes, Stocks, Values

SLACK = 1e-3  # of a trade unit: float32 prices turn 300 shares into 299.9999


class Fill(NamedTuple):
    """The purchases or the sales of one day, in n stocks.

    Attributes:
        row: Row of the calendar.
        stocks: [n], columns of the universe.
        changes: [n], adjusted shares; negative for sales.
        prices: [n], adjusted prices.
        factors: [n], adjusted price / raw price.
        costs: [n], in currency.
    """

    row: int
    stocks: Stocks
    changes: Values
    prices: Values
    factors: Values
    costs: Values


class DayEnd(NamedTuple):
    """The account after the close of a day, with n positions.

    Attributes:
        row: Row of the calendar.
        cash: In currency.
        value: Cash and positions, in currency.
        cost: Costs of the day's trades, in currency.
        turnover: Value of the day's purchases and sales, in currency.
        stocks: [n], columns of the universe.
        amounts: [n], adjusted shares.
        prices: [n], last adjusted prices.
    """

    row: int
    cash: float
    value: float
    cost: float
    turnover: float
    stocks: Stocks
    amounts: Values
    prices: Values


class Account:
    """Cash and positions during a backtest; trades take place at the close, without price impact.

    Attributes:
        cash: In currency, never below 0.
        amounts: [S], adjusted shares; negative for short positions.
        days_held: [S], number of closes since the purchase, the close of the purchase included.
        quotes: Quotes of the current day, [S].
        cost: Costs of the current day, in currency.
        turnover: Value of the purchases and sales of the current day, in currency.
        fills: All trades so far.
        days: The account after each day so far.
        missed: Number of orders that were not filled, by reason.
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
        """Start a day, given its row of the calendar and its quotes, [S]."""
        self.row, self.quotes = row, quotes
        self.cost = self.turnover = 0.0

    def close_day(self) -> None:
        """End the day, and record the account."""
        self.days_held = np.where(self.amounts != 0, self.days_held + 1, 0)
        held = self.held
        positions = (held, self.amounts[held], self.quotes.price[held])
        day = DayEnd(self.row, self.cash, self.value, self.cost, self.turnover, *positions)
        self.days.append(day)

    @property
    def held(self) -> Stocks:
        """Stocks with a position, in ascending order."""
        return np.flatnonzero(self.amounts)

    @property
    def value(self) -> float:
        """Cash and positions at their last prices, in currency."""
        held = self.held
        return self.cash + float(self.amounts[held] @ self.quotes.price[held])

    def sell(self, stocks: Stocks, amounts: Values) -> None:
        """Sell adjusted shares of stocks; those that cannot be traded are kept.

        A sale whose costs exceed its proceeds is skipped if the cash does not cover the loss.
        """
        stocks, amounts = self._possible(stocks, -amounts)
        values = -amounts * self.quotes.price[stocks]
        costs = self.exchange.cost(values, self.exchange.sell_cost)
        loss = np.maximum(costs - values, 0)
        paid = (loss == 0) | (loss.cumsum() <= self.cash)
        self._fill(stocks, np.where(paid, amounts, 0.0), costs)

    def buy(self, stocks: Stocks, amounts: Values) -> None:
        """Buy adjusted shares of stocks, in the given order, until the cash is spent.

        The first stock that the cash does not cover is bought in part, and later ones are skipped.
        """
        stocks, amounts = self._possible(stocks, amounts)
        price, rate = self.quotes.price[stocks], self.exchange.buy_cost
        spent = amounts * price + self.exchange.cost(amounts * price, rate)
        cash = self.cash - (spent.cumsum() - spent)  # before each purchase
        most = np.minimum(cash / (1 + rate), cash - self.exchange.min_cost).clip(0) / price
        amounts = np.where(spent > cash, self._round(stocks, most, slack=0.0), amounts)
        self._fill(stocks, amounts, self.exchange.cost(amounts * price, rate))

    def rebalance(self, weights: Values) -> None:
        """Trade towards weights [S] of the account's value, as far as stocks can be traded."""
        stocks = np.flatnonzero((weights != 0) | (self.amounts != 0))
        target = np.zeros(len(stocks))
        wanted = weights[stocks] != 0
        target[wanted] = weights[stocks][wanted] * self.value / self.quotes.price[stocks][wanted]
        change = target - self.amounts[stocks]
        down, up = change < 0, ~(change <= 0)  # up includes NaN, so orders without a price count
        self.sell(stocks[down], -change[down])
        self.buy(stocks[up], change[up])

    def _possible(self, stocks: Stocks, changes: Values) -> tuple[Stocks, Values]:
        """Return the stocks that can be traded, and their changes in whole trade units."""
        tradable = self.quotes.tradable[stocks]
        self.missed["suspended or at the limit"] += int((~tradable).sum())
        stocks = stocks[tradable]
        return stocks, self._round(stocks, changes[tradable])

    def _round(self, stocks: Stocks, changes: Values, slack: float = SLACK) -> Values:
        """Round changes towards zero to whole trade units, unless they close a position."""
        unit, factor = self.exchange.trade_unit, self.quotes.factor[stocks]
        if unit is None:
            return changes
        whole = np.floor(np.abs(changes) * factor / unit + slack) * unit / factor
        unrounded = (changes == -self.amounts[stocks]) | ~(factor > 0)
        return np.where(unrounded, changes, np.copysign(whole, changes))

    def _fill(self, stocks: Stocks, changes: Values, costs: Values) -> None:
        values = changes * self.quotes.price[stocks]
        filled = np.abs(values) > DUST
        self.missed["below one trade unit, or not enough cash"] += int((~filled).sum())
        stocks, changes = stocks[filled], changes[filled]
        costs, values = costs[filled], values[filled]
        self.amounts[stocks] += changes
        self.cash -= float(values.sum() + costs.sum())
        self.cost += float(costs.sum())
        self.turnover += float(np.abs(values).sum())
        prices, factors = self.quotes.price[stocks], self.quotes.factor[stocks]
        self.fills.append(Fill(self.row, stocks, changes, prices, factors, costs))
