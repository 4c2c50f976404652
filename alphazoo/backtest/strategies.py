"""Trading strategies, which trade an account by the scores of the day before.

Stocks with equal scores are ranked by symbol, in alphabetical order.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from alphazoo.backtest.account import Account
from alphazoo.backtest.exchange import Stocks, Values
from alphazoo.bounds import NonNegativeInt
from alphazoo.errors import InputError

SLACK = 1e-9  # corrects rounding errors: 0.29 * 100 is 28.999999999999996


class Strategy(Protocol):
    """Trades an account once a day.

    Attributes:
        neutral: Whether the strategy is market-neutral, so that its default benchmark is cash.
    """

    neutral: ClassVar[bool]

    @property
    def least(self) -> int:
        """Minimum number of scores that a day must have."""

    def trade(self, account: Account, scores: Values) -> None:
        """Trade at today's close by yesterday's scores, [S]; NaN where missing."""


@dataclass(frozen=True)
class TopkDropout:
    """Holds the best stocks, and replaces only a few of them each day.

    The held stocks and the best of the others are ranked together. Held stocks among the worst
    ``n_drop`` are sold, and replaced by the best of the others, each bought for an equal part of
    the cash. A stock that cannot be sold is kept, but is replaced nevertheless, so that up to
    ``topk + n_drop`` stocks may be held for a while. Stocks without a score rank last.

    Attributes:
        topk: Number of stocks to hold.
        n_drop: Maximum number of stocks to replace per day.
        hold_thresh: Minimum number of closes that a position is held before it may be sold, the
            close of its purchase included.
        risk_degree: Fraction of the cash that is spent; the rest covers costs.
        only_tradable: Whether stocks that cannot be traded today are excluded from the ranking.
            Otherwise, a suspended stock among the worst occupies one of the ``n_drop`` ranks every
            day until it trades again, although it cannot be sold.
    """

    topk: int
    n_drop: int
    hold_thresh: NonNegativeInt
    risk_degree: float
    only_tradable: bool
    neutral: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_part("risk_degree", self.risk_degree)
        if not 0 <= self.n_drop <= self.topk or self.topk < 1:
            raise InputError(
                f"need 0 <= strategy.n_drop <= strategy.topk, at least 1, "
                f"got {self.n_drop} and {self.topk}"
            )

    @property
    def least(self) -> int:
        """The number of stocks to hold."""
        return self.topk

    def trade(self, account: Account, scores: Values) -> None:
        """Sell the worst held stocks, and buy the best others."""
        held = account.held
        eligible = account.quotes.tradable | (not self.only_tradable)
        others = np.setdiff1d(np.flatnonzero(np.isfinite(scores) & eligible), held)
        free = self.topk - len(held)  # negative while stocks that could not be sold are kept
        candidates = _best_first(others, scores)[: max(0, self.n_drop + free)]
        ranked = _best_first(np.union1d(held, candidates), scores)
        ranked = ranked[eligible[ranked]]
        dropped = np.intersect1d(held, ranked[max(0, len(ranked) - self.n_drop) :])
        buys = candidates[: max(0, len(dropped) + free)]
        sales = dropped[account.days_held[dropped] >= self.hold_thresh]
        account.sell(sales, account.amounts[sales])
        if len(buys):
            each = account.cash * self.risk_degree / len(buys)
            account.buy(buys, each / account.quotes.price[buys])


@dataclass(frozen=True)
class EqualTopk:
    """Holds the best stocks with equal weights, rebalanced every day.

    Attributes:
        topk: Number of stocks to hold.
        risk_degree: Fraction of the account that is invested.
    """

    topk: int
    risk_degree: float
    neutral: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_part("risk_degree", self.risk_degree)
        if self.topk < 1:
            raise InputError(f"strategy.topk must be at least 1, got {self.topk}")

    @property
    def least(self) -> int:
        """The number of stocks to hold."""
        return self.topk

    def trade(self, account: Account, scores: Values) -> None:
        """Rebalance to equal weights of the best stocks."""
        order = _best_first(np.flatnonzero(np.isfinite(scores)), scores)
        weights = np.zeros(len(scores))
        weights[order[: self.topk]] = self.risk_degree / self.topk
        account.rebalance(weights)


@dataclass(frozen=True)
class LongShort:
    """Holds half of the account long in the best quantile and half short in the worst.

    Positions are rebalanced every day. If all stocks can be traded, the return is (mean of the
    best - mean of the worst) / 2. Borrowing shares is free, and cash earns no interest.

    Attributes:
        quantile: Fraction of the scored stocks on each side, at most 0.5.
    """

    quantile: float
    neutral: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.quantile <= 0.5:
            raise InputError(
                f"strategy.quantile must be above 0 and at most 0.5, got {self.quantile}"
            )

    @property
    def least(self) -> int:
        """The number of scores with which each side has one stock."""
        return int(np.ceil(1 / self.quantile - SLACK))

    def trade(self, account: Account, scores: Values) -> None:
        """Rebalance to equal weights on each side."""
        order = _best_first(np.flatnonzero(np.isfinite(scores)), scores)
        side = max(1, int(len(order) * self.quantile + SLACK))
        weights = np.zeros(len(scores))
        weights[order[:side]] = 0.5 / side
        weights[order[-side:]] = -0.5 / side
        account.rebalance(weights)


def _best_first(stocks: Stocks, scores: Values) -> Stocks:
    """Return stocks, given in ascending order, by descending score; those without score last."""
    ranks = np.argsort(-scores[stocks], kind="stable")  # NaN last
    ordered: Stocks = stocks[ranks]
    return ordered


def _check_part(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise InputError(f"strategy.{name} must be a fraction above 0 and at most 1, got {value}")
