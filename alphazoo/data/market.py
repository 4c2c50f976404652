"""Market: prices, calendar and universe as dense panels, one float32 ``[D, S]`` per field."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from alphazoo.data.clean import (
    BadPrices,
    Indices,
    Panel,
    check_indices,
    check_panels,
    clean_prices,
)
from alphazoo.data.segments import bound
from alphazoo.data.strays import describe_days, find_stray_days, lost_labels
from alphazoo.errors import InputError, did_you_mean

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from alphazoo.data.sources.synthetic import SyntheticMarket


@dataclass(frozen=True, eq=False)
class Market:
    """A stock market, aligned to its trading calendar.

    Attributes:
        name: What logs and errors call it.
        dates: [D], the trading calendar, increasing.
        symbols: [S], sorted.
        fields: [D, S] float32 each; adjusted ``open high low close``, ``volume``, where the source
            has it ``vwap``, and others that the user brought. NaN where a stock is not listed,
            suspended or has no value.
        members: [D, S] bool, who belongs to the universe on that day.
        benchmark: [D] level of an index, or None.
        factor: [D, S] adjusted price / raw price, for trading in whole shares, or None. Not one of
            the fields: features must not see it, as dividends to come may be in it.
        notes: What a reader of results on these data must know, such as stocks that are missing.
        indices: [D] by symbol and field: what is known of market indices, ``close``, ``volume`` and
            where the source has it ``amount``, the value traded; NaN where unknown.
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
        **extra: Any,
    ) -> Self:
        """Check and clean panels and make a market of them; every source ends here.

        A day without volume is a suspended day: all its fields become NaN.

        Args:
            name: What logs and errors call the market.
            dates: [D], increasing.
            symbols: [S].
            fields: [D, S] float32 each; cleaned in place.
            members: [D, S] bool.
            benchmark: [D].
            factor: [D, S] float32; NaN where unknown.
            notes: See the attribute.
            indices: [D] float32 each, by symbol and field; cleaned in place.
            bad_prices: What to do with non-positive or infinite prices and negative or infinite
                volumes: ``"missing"`` makes them NaN and lists them in the log, ``"refuse"`` fails.
            extra: Attributes of a subclass.

        Raises:
            InputError: An array is missing, misshapen or of another type, the calendar does not
                increase, a symbol stands twice, no stock has volume, or a price is bad and
                ``bad_prices`` says to refuse it.
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
            raise InputError(f"market {name!r} has no volume: every day would be a suspended day")
        for panel in fields.values():
            panel[suspended] = np.nan
        market = cls(
            name=name,
            dates=dates,
            symbols=tuple(symbols),
            fields={field: torch.from_numpy(panel) for field, panel in fields.items()},
            members=torch.from_numpy(members),
            benchmark=None if benchmark is None else torch.from_numpy(benchmark),
            factor=None if factor is None else torch.from_numpy(factor),
            notes=tuple(notes),
            indices={
                symbol: {field: torch.from_numpy(values) for field, values in series.items()}
                for symbol, series in indices.items()
            },
            **extra,
        )
        market._warn_of_stray_days()
        return market

    def _warn_of_stray_days(self) -> None:
        """Count what they cost for the return from the next day to the one after."""
        present, priced = self.present, self.field("close").isfinite()
        lost = lost_labels(present, priced, buy=1, sell=2)
        if lost:
            log.warning(
                "market %r has %s: other stocks lose the labels that reach over them, %s of the "
                "return from day t+1 to t+2; delete their rows if the market was closed",
                self.name,
                describe_days(find_stray_days(present), self.dates, present),
                f"{lost:,}",
            )

    @staticmethod
    def from_qlib(path: str, **options: Any) -> "Market":
        """Read a Qlib data folder; see `alphazoo.data.sources.qlib.read_qlib`."""
        from alphazoo.data.sources.qlib import read_qlib

        return read_qlib(path, **options)

    @staticmethod
    def from_table(table: "str | pd.DataFrame", **options: Any) -> "Market":
        """Read a long table or a DataFrame; see `alphazoo.data.sources.table.read_table`."""
        from alphazoo.data.sources.table import read_table

        return read_table(table, **options)

    @staticmethod
    def from_synthetic(**options: Any) -> "SyntheticMarket":
        """Make a market with planted structure; see `alphazoo.data.sources.synthetic`."""
        from alphazoo.data.sources.synthetic import make_market

        return make_market(**options)

    @property
    def present(self) -> Tensor:
        """[D, S] bool: members with a price on that day, the stocks that a day consists of."""
        return self.members & self.fields["close"].isfinite()

    def rows(self, first: str | None = None, last: str | None = None) -> range:
        """Rows of the calendar from one date to another, both included; None is an open end.

        Args:
            first: A date, month or year, see `alphazoo.data.segments.bound`.
            last: Likewise.

        Raises:
            InputError: An end is no date, or there is no trading day between them.
        """
        start, stop = bound(first, "left", "from"), bound(last, "right", "to")
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

    def until(self, row: int) -> "Market":
        """The market as it was after the close of a day, given as a row of the calendar."""
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

    def field(self, name: str) -> Tensor:
        """[D, S], the panel of that name.

        Raises:
            InputError: There is none.
        """
        if name not in self.fields:
            hint = did_you_mean(name, self.fields)
            raise InputError(f"market {self.name!r} has no field {name!r}; {hint}")
        return self.fields[name]
