"""Strategies: what to trade on a day, given the scores of the day before.

Ties are broken by symbol: the first in the alphabet is the better one.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from alphazoo.backtest.account import Account
from alphazoo.backtest.exchange import Stocks, Values
from alphazoo.bounds import NonNegativeInt
from alphazoo.errors import InputError

SLACK = 1e-9  # 0.29 * 100 is 28.999999999999996


class Strategy(Protocol):
    """Trades an account once a day.

    Attributes:
        neutral: Whether it holds as much short as long, so that its benchmark is cash.
    """

    neutral: ClassVar[bool]

    @property
    def least(self) -> int:
        """Stocks that a day of scores must have."""

    def trade(self, account: Account, scores: Values) -> None:
        """Trade at today's close; scores [S] are known since yesterday's, NaN without one."""


@dataclass(frozen=True)
class TopkDropout:
    """Holds the best stocks and replaces only a few of them a day.

    Of the stocks held and the best of the others together, the worst ``n_drop`` are to leave:
    those of them that are held are sold, and the best of the others bought, each for the same
    part of the cash. A stock that cannot be sold is kept, and still replaced: for a time there
    may be up to ``topk + n_drop``. A stock without a score is worse than any with one.

    Attributes:
        topk: Stocks to hold.
        n_drop: Most to replace a day.
        hold_thresh: Closes that a position must have seen, that of its purchase included, before
            it is sold.
        risk_degree: Part of the cash that is spent; the costs come out of the rest.
        only_tradable: Whether a stock that cannot be traded today is passed over when choosing what
            leaves and what is bought. Else a suspended stock that is among the worst takes the
            place of one that could be sold, every day until it trades again.
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
        """As many as are held."""
        return self.topk

    def trade(self, account: Account, scores: Values) -> None:
        """Sell the worst, buy the best."""
        held = account.held
        open_ = account.quotes.tradable | (not self.only_tradable)
        others = np.setdiff1d(np.flatnonzero(np.isfinite(scores) & open_), held)
        free = self.topk - len(held)  # below 0 while stocks that could not be sold are kept
        candidates = _best_first(others, scores)[: max(0, self.n_drop + free)]
        together = _best_first(np.union1d(held, candidates), scores)
        together = together[open_[together]]
        leaving = np.intersect1d(held, together[max(0, len(together) - self.n_drop) :])
        buys = candidates[: max(0, len(leaving) + free)]
        ripe = leaving[account.days_held[leaving] >= self.hold_thresh]
        account.sell(ripe, account.amounts[ripe])
        if len(buys):
            each = account.cash * self.risk_degree / len(buys)
            account.buy(buys, each / account.quotes.price[buys])


@dataclass(frozen=True)
class EqualTopk:
    """Holds the best stocks, each for the same part of the account, set anew every day.

    Attributes:
        topk: Stocks to hold.
        risk_degree: Part of the account that is in stocks.
    """

    topk: int
    risk_degree: float
    neutral: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_part("risk_degree", self.risk_degree)
        if self.topk < 1:
            raise InputError(f"strategy.topk is at least 1, got {self.topk}")

    @property
    def least(self) -> int:
        """As many as are held."""
        return self.topk

    def trade(self, account: Account, scores: Values) -> None:
        """Move to equal weights of the best."""
        order = _best_first(np.flatnonzero(np.isfinite(scores)), scores)
        weights = np.zeros(len(scores))
        weights[order[: self.topk]] = self.risk_degree / self.topk
        account.rebalance(weights)


@dataclass(frozen=True)
class LongShort:
    """Half of the account long in the best quantile, as much short in the worst, every day anew.

    Its return is (mean of the best - mean of the worst) / 2, less what cannot be traded. Shares
    are borrowed for nothing, and cash earns nothing.

    Attributes:
        quantile: Share of the scored stocks on either side, to 0.5.
    """

    quantile: float
    neutral: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.quantile <= 0.5:
            raise InputError(f"strategy.quantile is above 0 and to 0.5, got {self.quantile}")

    @property
    def least(self) -> int:
        """One stock a side."""
        return int(np.ceil(1 / self.quantile - SLACK))

    def trade(self, account: Account, scores: Values) -> None:
        """Move to equal weights on either side."""
        order = _best_first(np.flatnonzero(np.isfinite(scores)), scores)
        side = max(1, int(len(order) * self.quantile + SLACK))
        weights = np.zeros(len(scores))
        weights[order[:side]] = 0.5 / side
        weights[order[-side:]] = -0.5 / side
        account.rebalance(weights)


def _best_first(stocks: Stocks, scores: Values) -> Stocks:
    """Increasing columns in the order of their scores; those without one last."""
    ranks = np.argsort(-scores[stocks], kind="stable")  # NaN last
    ordered: Stocks = stocks[ranks]
    return ordered


def _check_part(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise InputError(f"strategy.{name} is a part above 0 and to 1, got {value}")
