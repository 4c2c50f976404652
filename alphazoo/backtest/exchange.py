"""Exchange: prices to trade at, what a trade costs, and which are possible."""

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
