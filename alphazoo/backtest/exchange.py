"""The exchange of a backtest: prices, trading costs and restrictions on trades."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.backtest.limits import REACHED, a_share_limits, unknown_boards
from alphazoo.errors import InputError, check_choice, shorten
from alphazoo.market.market import Market

Values = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Stocks = npt.NDArray[np.intp]  # columns of the universe

DUST = 1e-5  # in currency; smaller trades are ignored
DECIMALS = 6  # moves are rounded before they are compared with limits: the precision of float32
Limit = Literal["a_shares"]
(BY_BOARD,) = get_args(Limit)


class Quotes(NamedTuple):
    """Prices and restrictions, [d, S] for several days or [S] for one day.

    Attributes:
        price: The last adjusted close; NaN before the first one.
        tradable: Whether the stock has a price on the day and is not at its price limit.
        factor: Adjusted price / raw price; NaN where unknown.
    """

    price: Values
    tradable: Flags
    factor: Values


@dataclass(frozen=True)
class Exchange:
    """Trading costs and restrictions on trades.

    Attributes:
        buy_cost: Cost of a purchase, as a fraction of its value.
        sell_cost: Cost of a sale, as a fraction of its value.
        min_cost: Minimum cost of a trade, in currency.
        limit: A stock at its price limit can be neither bought nor sold on that day.
            ``"a_shares"``: a stock is at its limit if its close has moved by 95% or more of the
            limit of its board and date, see `alphazoo.backtest.limits`. A number: a stock is at its
            limit if its close has moved by this fraction or more (0.095 is 9.5%, as in Qlib). None:
            there are no limits.
        trade_unit: Number of unadjusted shares in a trade unit. Trades are rounded towards zero to
            whole units, unless they close a position. None allows any fraction of a share, and so
            do markets without a factor, because their unadjusted shares are unknown.
    """

    buy_cost: float
    sell_cost: float
    min_cost: float
    limit: float | Limit | None
    trade_unit: float | None

    def __post_init__(self) -> None:
        for name in ("buy_cost", "sell_cost"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(
                    f"exchange.{name} must be a fraction of at least 0 and below 1, "
                    f"got {getattr(self, name)}"
                )
        if not self.min_cost >= 0:
            raise InputError(f"exchange.min_cost must be at least 0, got {self.min_cost}")
        if isinstance(self.limit, str):
            check_choice("exchange.limit", self.limit, (BY_BOARD,))
        elif self.limit is not None and not 0 < self.limit < 1:
            raise InputError(
                f"exchange.limit must be above 0 and below 1, {BY_BOARD}, or null for no limits, "
                f"got {self.limit}"
            )
        if self.trade_unit is not None and not self.trade_unit > 0:
            raise InputError(
                "exchange.trade_unit must be above 0, or null for fractions of shares, "
                f"got {self.trade_unit}"
            )

    def quotes(self, market: Market, rows: range) -> Quotes:
        """Return the quotes of some days, [d, S]."""
        history = pd.DataFrame(market.field("close")[: rows.stop].numpy())
        last = history.ffill().to_numpy()[rows.start - 1 :].astype(np.float64)
        price, before = last[1:], last[:-1]
        tradable = history.notna().to_numpy()[rows.start :]
        reached = self._reached(market, rows)
        if reached is not None:
            move = np.abs(price / before - 1)
            tradable = tradable & ~(move.round(DECIMALS, out=move) >= reached)
        if market.factor is None:
            return Quotes(price, tradable, np.full_like(price, np.nan))
        return Quotes(price, tradable, market.factor[rows.start : rows.stop].double().numpy())

    def _reached(self, market: Market, rows: range) -> float | Values | None:
        """Return the move of a stock at its limit, a number or [d, S]; None without limits."""
        if isinstance(self.limit, str):
            reached: Values = np.round(REACHED * a_share_limits(market, rows), DECIMALS)
            return reached
        return self.limit

    def notes(self, market: Market) -> Iterator[str]:
        """Describe the assumptions that are made where the market lacks data."""
        if self.trade_unit is not None and market.factor is None:
            yield (
                "fractions of shares are traded, because the market has no factor from which the "
                "unadjusted shares follow"
            )
        unknown = unknown_boards(market) if self.limit == BY_BOARD else []
        if unknown:
            yield (
                f"the board of {len(unknown)} symbols is unknown, and the price limit of the main "
                f"board is used: {shorten(unknown)}"
            )

    def cost(self, values: Values, rate: float) -> Values:
        """Return the costs of trades, given their values in currency and the rate of their side."""
        return np.where(values > DUST, np.maximum(values * rate, self.min_cost), 0.0)
