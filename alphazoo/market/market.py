"""`Market`: prices, calendar and universe as dense panels, one float32 tensor [D, S] per field."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import ParamSpec, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from alphazoo.errors import InputError, did_you_mean
from alphazoo.market.absurd import warn_of_absurd_values
from alphazoo.market.clean import (
    Arrays,
    BadPrices,
    Indices,
    Panel,
    check_indices,
    check_panels,
    clean_prices,
)
from alphazoo.market.periods import parse_bound
from alphazoo.market.planted import DELAY, Planted
from alphazoo.market.returns import forward_return
from alphazoo.market.sources.qlib import read_qlib
from alphazoo.market.sources.synthetic import make_market
from alphazoo.market.sources.table import read_table
from alphazoo.market.strays import warn_of_stray_days
from alphazoo.metrics import correlate

P = ParamSpec("P")


def _market_of(source: Callable[P, Arrays]) -> Callable[P, "Market"]:
    """Return a function that creates a market from a source, with the signature of the source."""

    @wraps(source)
    def make(*args: P.args, **options: P.kwargs) -> "Market":
        return Market.from_arrays(**source(*args, **options))

    return make


@dataclass(frozen=True, eq=False)
class Market:
    """A stock market, aligned to its trading calendar.

    Attributes:
        name: Name in logs and errors.
        dates: [D], the trading calendar, in ascending order.
        symbols: [S], sorted.
        fields: [D, S] float32 each: adjusted ``open high low close``, ``volume``, ``vwap`` if the
            source has it, and extra fields of the user. NaN where a stock is not listed, is
            suspended or has no value.
        members: [D, S] bool, universe members by day.
        benchmark: [D], level of an index, or None.
        factor: [D, S], adjusted price / raw price, for trading in whole shares, or None. It is not
            one of the fields, because it may depend on later dividends, which features must not
            see.
        notes: Caveats for readers of results on these data, such as missing stocks.
        indices: [D] by symbol and field, series of market indices: ``close``, ``volume`` and, if
            the source has it, ``amount``, the traded value; NaN where unknown.
        planted: The planted signals of a synthetic market; None for other markets.
    """

    name: str
    dates: pd.DatetimeIndex
    symbols: tuple[str, ...]
    fields: Mapping[str, Tensor]
    members: Tensor
    benchmark: Tensor | None = None
    factor: Tensor | None = None
    notes: tuple[str, ...] = ()
    indices: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    planted: Planted | None = None

    @classmethod
    def from_arrays(
        cls,
        *,
        name: str,
        dates: pd.DatetimeIndex,
        symbols: Sequence[str],
        fields: Mapping[str, Panel],
        members: npt.NDArray[np.bool_],
        benchmark: npt.NDArray[np.float32] | None = None,
        factor: Panel | None = None,
        notes: Sequence[str] = (),
        indices: Indices | None = None,
        bad_prices: BadPrices = "missing",
        planted: Planted | None = None,
    ) -> Self:
        """Create a market from panels, after checking and cleaning them; every source uses this.

        A stock without volume is suspended on that day: all its fields become NaN.

        Args:
            name: Name in logs and errors.
            dates: [D], in ascending order.
            symbols: [S].
            fields: [D, S] float32 each; cleaned in place.
            members: [D, S] bool.
            benchmark: [D].
            factor: [D, S] float32; NaN where unknown.
            notes: See `Market`.
            indices: [D] float32 each, by symbol and field; cleaned in place.
            bad_prices: How to treat non-positive or infinite prices and negative or infinite
                volumes: ``"missing"`` replaces them by NaN and logs them, ``"refuse"`` raises.
            planted: See `Market`.

        Raises:
            InputError: An array is missing or has the wrong shape or type, the calendar is not in
                ascending order, a symbol is duplicate, no stock has volume, or a price is bad and
                ``bad_prices`` is ``"refuse"``.
        """
        indices = indices or {}
        panels = fields if factor is None else {**fields, "factor": factor}
        check_panels(name, dates, symbols, panels, members, benchmark)
        check_indices(name, indices, len(dates))
        clean_prices(name, dates, symbols, fields, bad_prices)
        for symbol, series in indices.items():
            columns = {field: values[:, None] for field, values in series.items()}
            clean_prices(name, dates, [symbol], columns, bad_prices)
        suspended = ~(fields["volume"] > 0)
        if suspended.all():
            raise InputError(f"market {name!r} has no volume, so all stocks would be suspended")
        for panel in fields.values():
            panel[suspended] = np.nan
        absurd = warn_of_absurd_values(name, dates, symbols, fields, members)
        market = cls(
            name=name,
            dates=dates,
            symbols=tuple(symbols),
            fields={field: torch.from_numpy(panel) for field, panel in fields.items()},
            members=torch.from_numpy(members),
            benchmark=None if benchmark is None else torch.from_numpy(benchmark),
            factor=None if factor is None else torch.from_numpy(factor),
            notes=(*notes, *absurd),
            indices={
                symbol: {field: torch.from_numpy(values) for field, values in series.items()}
                for symbol, series in indices.items()
            },
            planted=planted,
        )
        warn_of_stray_days(name, dates, market.present, market.field("close").isfinite())
        return market

    from_qlib = staticmethod(_market_of(read_qlib))
    from_table = staticmethod(_market_of(read_table))
    from_synthetic = staticmethod(_market_of(make_market))

    @property
    def present(self) -> Tensor:
        """The stocks of each day, [D, S] bool, which are universe members with a price."""
        return self.members & self.fields["close"].isfinite()

    def rows(self, first: str | None = None, last: str | None = None) -> range:
        """Return the rows of the calendar from one date to another, both included.

        Args:
            first: A date, month or year, see `alphazoo.market.periods.parse_bound`; None for the
                first day.
            last: Likewise; None for the last day.

        Raises:
            InputError: ``first`` or ``last`` is not a date, or no trading day is between them.
        """
        start, stop = parse_bound(first, "left", "from"), parse_bound(last, "right", "to")
        rows = range(
            0 if start is None else int(self.dates.searchsorted(start, "left")),
            len(self.dates) if stop is None else int(self.dates.searchsorted(stop, "right")),
        )
        if not rows:
            raise InputError(
                f"no trading day from {first} to {last}: market {self.name!r} has "
                f"{self.dates[0]:%Y-%m-%d} to {self.dates[-1]:%Y-%m-%d}"
            )
        return rows

    def oracle_ic(
        self, part: str = "all", first: str | None = None, last: str | None = None
    ) -> float:
        """Return the mean IC of a forecaster that knows the planted signal.

        No model can exceed it, on average. It is 0 if the signal has no strength.

        Args:
            part: ``"own"``, ``"sector"`` or ``"all"``, see `alphazoo.market.planted.Planted`.
            first: The first day; defaults to the first day of the market.
            last: The last day; defaults to the last day of the market.

        Raises:
            InputError: The market is not synthetic, there is no such part, ``first`` or ``last`` is
                not a date, or no trading day is between them.
        """
        if self.planted is None:
            raise InputError(f"market {self.name!r} is not synthetic: it has no planted signal")
        returns = forward_return(self.fields["close"], buy=DELAY - 1, sell=DELAY)
        panels = (self.planted.signal(part), returns.where(self.present, torch.nan))
        days = self.rows(first, last)
        scores, known = (panel[days.start : days.stop].double().numpy() for panel in panels)
        daily = correlate(scores, known)["ic"].fillna(0.0)
        return float(daily[self.present[days.start : days.stop].any(dim=1).numpy()].mean())

    def until(self, row: int) -> "Market":
        """Return the market as known after the close of a day, given by its row of the calendar."""
        days = slice(row + 1)
        return Market(
            name=self.name,
            dates=self.dates[days],
            symbols=self.symbols,
            fields={name: panel[days] for name, panel in self.fields.items()},
            members=self.members[days],
            benchmark=None if self.benchmark is None else self.benchmark[days],
            factor=None if self.factor is None else self.factor[days],
            notes=self.notes,
            indices={
                symbol: {field: values[days] for field, values in series.items()}
                for symbol, series in self.indices.items()
            },
        )

    def to_table(self) -> pd.DataFrame:
        """Return the long table that `Market.from_table` reads.

        Columns ``date``, ``symbol``, the fields and ``member``; a row per day and stock with a
        close, sorted by both. Prices are adjusted; benchmark, factor and indices are left out.
        """
        days, stocks = np.nonzero(self.field("close").isfinite().numpy())
        keys = {"date": self.dates[days], "symbol": pd.Index(self.symbols)[stocks]}
        panels = {name: panel.numpy()[days, stocks] for name, panel in self.fields.items()}
        return pd.DataFrame({**keys, **panels, "member": self.members.numpy()[days, stocks]})

    def field(self, name: str) -> Tensor:
        """Return the panel of a field, [D, S].

        Raises:
            InputError: The market has no such field.
        """
        if name not in self.fields:
            hint = did_you_mean(name, self.fields)
            raise InputError(f"market {self.name!r} has no field {name!r}; {hint}")
        return self.fields[name]
