"""Exchange: prices to trade at, what a trade costs, and which are possible."""

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

DUST = 1e-5  # a trade of no more, in currency, is none
DECIMALS = 6  # of a move that are compared with its limit; float32 prices have no more
Limit = Literal["a_shares"]
(BY_BOARD,) = get_args(Limit)


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
        limit: ``"a_shares"``: a stock that closes at 95% or more of the price limit of its board
            and date, see `alphazoo.backtest.limits`, can be neither bought nor sold that day. A
            number: one that closes so far from its previous close, or further, whatever its board
            (0.095 is 9.5%, as in Qlib). None: there is no limit.
        trade_unit: Unadjusted shares that trades are multiples of, rounded towards zero, but for
            one that closes a position; None: any fraction. Where the market has no factor, its
            shares are not known and fractions are traded.
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
                    f"exchange.{name} is a share from 0 to below 1, got {getattr(self, name)}"
                )
        if not self.min_cost >= 0:
            raise InputError(f"exchange.min_cost is 0 or more, got {self.min_cost}")
        if isinstance(self.limit, str):
            check_choice("exchange.limit", self.limit, (BY_BOARD,))
        elif self.limit is not None and not 0 < self.limit < 1:
            raise InputError(
                f"exchange.limit is above 0 and below 1, {BY_BOARD} or null for none, "
                f"got {self.limit}"
            )
        if self.trade_unit is not None and not self.trade_unit > 0:
            raise InputError(
                f"exchange.trade_unit is above 0, or null for none, got {self.trade_unit}"
            )

    def quotes(self, market: Market, rows: range) -> Quotes:
        """Prices of some days, and which stocks can be traded then: [d, S]."""
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
        """Moves from which on a stock is at its limit: one of all, or [d, S]; None without any."""
        if isinstance(self.limit, str):
            reached: Values = np.round(REACHED * a_share_limits(market, rows), DECIMALS)
            return reached
        return self.limit

    def notes(self, market: Market) -> Iterator[str]:
        """What is not known of a market, and is assumed."""
        if self.trade_unit is not None and market.factor is None:
            yield "fractions of shares are traded: the market has no factor that gives whole ones"
        unknown = unknown_boards(market) if self.limit == BY_BOARD else []
        if unknown:
            yield (
                f"the board of {len(unknown)} symbols is unknown, their price limit taken for that "
                f"of the main board: {shorten(unknown)}"
            )

    def cost(self, values: Values, rate: float) -> Values:
        """What trades of some values cost, at the rate of their side."""
        return np.where(values > DUST, np.maximum(values * rate, self.min_cost), 0.0)
