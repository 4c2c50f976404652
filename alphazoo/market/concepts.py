"""Concepts: sectors, themes or groups to which stocks belong, each membership with its dates.

They are read from a table, or computed from the training days.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from alphazoo.bounds import PositiveInt
from alphazoo.errors import InputError, did_you_mean, shorten
from alphazoo.market.dates import DateFormat, DateRules, TimeZone, parse_dates
from alphazoo.market.market import Market
from alphazoo.market.periods import FIRST, LAST
from alphazoo.market.symbols import explain_unknown, find_symbols, parse_text_setting
from alphazoo.market.tables import AnyTable, Rows, Table, column_names, open_table, read_columns
from alphazoo.market.values import parse_labels, parse_numbers, parse_symbols

log = logging.getLogger(__name__)

REQUIRED = ("symbol", "concept")
OPTIONAL = ("from", "to", "weight")
OPEN_ENDS = {"from": pd.Timestamp(FIRST), "to": pd.Timestamp(LAST)}


@dataclass(frozen=True, eq=False)
class Concepts:
    """M memberships of stocks in concepts.

    Attributes:
        names: [C], names of the concepts.
        n_stocks: S, number of stocks in the market.
        stocks: [M], the stock of each membership, as a column of the universe.
        concepts: [M], the concept of each membership, as an index of ``names``.
        first: [M], the first row of the calendar on which the membership holds.
        last: [M], the last row of the calendar on which it holds.
        weights: [M], above 0; 1 if no weights are given.
    """

    names: tuple[str, ...]
    n_stocks: int
    stocks: Tensor
    concepts: Tensor
    first: Tensor
    last: Tensor
    weights: Tensor

    def on(self, day: int, stocks: Tensor) -> Tensor:
        """Return the weights of stocks [N] in the concepts on a day, [N, C]; 0 for no member."""
        dense = self.weights.new_zeros(self.n_stocks, len(self.names))
        holds = (self.first <= day) & (day <= self.last)
        dense[self.stocks[holds], self.concepts[holds]] = self.weights[holds]
        return dense[stocks]

    def to(self, device: torch.device) -> "Concepts":
        """Return a copy on the device."""
        parts = ("stocks", "concepts", "first", "last", "weights")
        return replace(self, **{name: getattr(self, name).to(device) for name in parts})


# returns the concepts of a market, given the rows of its training days
ConceptSource = Callable[[Market, Sequence[int]], Concepts]
Source = TypeVar("Source", bound=Callable[..., Concepts])

_DATA: set[object] = set()  # sources that `is_data` has marked


def is_data(source: Source) -> Source:
    """Mark a source whose concepts are data, like prices, which every run reads again."""
    _DATA.add(source)
    return source


def are_learned(source: str | Path | ConceptSource | None) -> bool:
    """Whether the concepts of a source are computed from the training days.

    Such concepts are stored in the checkpoint, because the trained model depends on them. All
    functions that are not marked by `is_data` count as computing them.
    """
    while isinstance(source, partial):
        source = source.func
    return callable(source) and source not in _DATA


@is_data
def no_concepts(market: Market, train: Sequence[int]) -> Concepts:
    """Return no concepts: C = 0."""
    empty = np.empty(0, dtype=np.int64)
    return always([], empty, empty, market)


def find_concepts(
    source: str | Path | ConceptSource | None, market: Market, train: Sequence[int]
) -> Concepts:
    """Return the concepts of a market from a source.

    Args:
        source: A table, see `read_concepts`, a function, or None for no concepts.
        market: The market.
        train: Rows of the training days.

    Raises:
        InputError: The concepts cannot be read or computed.
    """
    if not source:
        return no_concepts(market, train)
    if isinstance(source, str | Path | int):
        return read_concepts(market, train, table=source)
    try:
        return source(market, train)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"cannot create the concepts: {error}") from error


@is_data
def read_concepts(
    market: Market,
    train: Sequence[int],
    *,
    table: AnyTable,
    columns: Mapping[str, str | Sequence[str] | None] | None = None,
    date_format: DateFormat | None = None,
    timezone: TimeZone | None = None,
) -> Concepts:
    """Read concepts from a table with one row per membership.

    Stocks that are not in the table have no concept. Symbols that are not in the market are skipped
    and logged.

    Args:
        market: Gives symbols and calendar.
        train: Ignored; concepts from a table do not depend on the training days.
        table: A ``.parquet``, ``.csv`` or ``.csv.gz`` file, a DataFrame, or another table that
            Arrow can read.
        columns: Names in the table of the columns ``symbol``, ``concept`` (one column or several,
            such as ``[sector, industry]``) and, optionally, ``from`` and ``to`` (first and last day
            of a membership; empty values leave it open) and ``weight`` (above 0, such as the market
            value). The first two default to their own names, and the others to no column. If
            ``columns`` is None, optional columns that the table has are used, too.
        date_format: Format of dates that are text, see `alphazoo.market.sources.table.read_table`.
        timezone: Time zone of the exchange, if the dates are timestamps in UTC.

    Raises:
        InputError: A file or column is missing, a symbol, date or weight is invalid, a period is
            reversed or overlaps another one of the same stock and concept, or no symbol is in the
            market.
    """
    opened = open_table(table, "data.concepts")
    given = dict(columns or {name: name for name in OPTIONAL if name in column_names(opened)})
    for name in given:
        if name not in (*REQUIRED, *OPTIONAL):
            hint = did_you_mean(name, (*REQUIRED, *OPTIONAL))
            raise InputError(f"data.concepts.columns has an unknown key {name!r}; {hint}")
    key = "data.concepts.columns"
    labels = given.get("concept") or "concept"
    labels = [
        parse_text_setting(label, f"{key}.concept")
        for label in (labels if isinstance(labels, list | tuple) else [labels])
    ]
    names = {"symbol": parse_text_setting(given.get("symbol") or "symbol", f"{key}.symbol")}
    names |= {f"concept{i or ''}": label for i, label in enumerate(labels)}
    names |= {n: parse_text_setting(given[n], f"{key}.{n}") for n in OPTIONAL if given.get(n)}
    found = read_columns(opened, names, key=key, optional=OPTIONAL, numbers=["weight"])
    if "from" not in names:
        log.warning("%s has no dates, so its concepts are assumed to hold on all days", found.name)
    rules = DateRules(date_format, timezone, setting="data.concepts.{}={}")
    return _to_concepts(_parse_memberships(found, labels, market, rules), market, found.name)


def correlation_groups(
    market: Market, train: Sequence[int], *, n_groups: int, min_days: PositiveInt
) -> Concepts:
    """Group stocks by the correlation of their returns on the training days.

    Ward's hierarchical clustering is applied to daily returns minus the mean over the day's
    universe members. Each stock's vector of returns is scaled to length 1, so that the squared
    distance of two stocks is 2 - 2 times their correlation. Only returns on days on which the stock
    is a universe member are used. Indices have no group, and do not affect others.

    Args:
        market: Gives closes and members.
        train: Rows of the training days; no other days are used.
        n_groups: Number of groups.
        min_days: Stocks with fewer such returns have no group.

    Raises:
        InputError: Fewer than ``n_groups`` stocks have ``min_days`` returns.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    days = slice(min(train), max(train) + 1)
    close, members = market.field("close")[days], market.members[days]  # [D, S]
    used = close[1:].isfinite() & close[:-1].isfinite() & members[1:]
    grouped = used.sum(dim=0) >= min_days
    grouped &= torch.tensor([symbol not in market.indices for symbol in market.symbols])
    stocks = grouped.nonzero().squeeze(1)
    if not 1 <= n_groups <= len(stocks):
        raise InputError(
            f"data.concepts.n_groups={n_groups}, but the number of stocks with {min_days} returns "
            f"on training days on which they are universe members is {len(stocks)}"
        )
    close = close[:, stocks].double()
    returns = (close[1:] / close[:-1] - 1).where(used[:, stocks], torch.nan)
    returns = (returns - returns.nanmean(dim=1, keepdim=True)).nan_to_num()
    unit = returns / returns.norm(dim=0).clamp_min(1e-12)
    groups = fcluster(linkage(unit.T.numpy(), "ward"), n_groups, "maxclust") - 1
    sizes = np.bincount(groups)
    log.info("concepts: %d groups of %d to %d stocks", len(sizes), sizes.min(), sizes.max())
    names = [f"group {number}" for number in range(len(sizes))]
    return always(names, stocks.numpy(), groups.astype(np.int64), market)


@is_data
def planted_sectors(market: Market, train: Sequence[int]) -> Concepts:
    """Return the sectors of a synthetic market.

    Raises:
        InputError: The market is not synthetic.
    """
    if market.planted is None:
        raise InputError(
            f"market {market.name!r} is not synthetic, so it has no planted sectors: choose other "
            "concepts"
        )
    sectors = market.planted.sectors.numpy()
    names = [f"sector {number}" for number in range(sectors.max() + 1)]
    return always(names, np.arange(len(sectors)), sectors, market)


def _parse_memberships(
    table: Table, labels: Sequence[str], market: Market, rules: DateRules
) -> pd.DataFrame:
    """Return the memberships of the market's stocks: symbol, stock, concept, from, to, weight."""
    symbols, rows = parse_symbols(table)
    stocks = _find_stocks(symbols, market, table.name)
    common = pd.DataFrame({"symbol": np.array(symbols, dtype=object)[rows], "stock": stocks[rows]})
    common["weight"] = parse_numbers(table, "weight") if "weight" in table.names else 1.0
    for end, open_end in OPEN_ENDS.items():
        common[end] = open_end
        if end in table.names:
            days, codes = parse_dates(table, end, rules, ends=True)
            # a missing date has code -1, which selects the open end
            common[end] = days.append(pd.DatetimeIndex([open_end]))[codes]
    parts = []
    for name, label in zip(
        (n for n in table.names if n.startswith("concept")), labels, strict=True
    ):
        concept = parse_labels(table, name)
        if len(labels) > 1:  # a sector and an industry may share a name
            concept = f"{label}: " + concept
        parts.append(common.assign(concept=concept))
    frame = pd.concat(parts, ignore_index=True)
    wrong = frame[~(frame["weight"] > 0) | np.isinf(frame["weight"])]
    if len(wrong):
        row = wrong.iloc[0]
        raise InputError(
            f"{table.name}: the weight of {row['symbol']} in {row['concept']!r} is "
            f"{row['weight']:g}, expected a number above 0"
        )
    kept = frame["concept"].notna() & (frame["stock"] >= 0)
    return frame[kept].sort_values(["symbol", "concept", "from"])


def _find_stocks(symbols: Sequence[str], market: Market, source: str) -> Rows:
    """Return the column of each symbol in the market; -1 for unknown symbols, which are logged."""
    stocks = find_symbols(symbols, market.symbols)
    unknown = [symbol for symbol, stock in zip(symbols, stocks, strict=True) if stock < 0]
    if not unknown:
        return stocks
    hint = explain_unknown(unknown, market.symbols)
    if len(unknown) == len(symbols):
        raise InputError(
            f"{source}: none of its symbols is in market {market.name!r}: {shorten(unknown)}; "
            f"{hint}"
        )
    log.warning(
        "%s: %d of %d symbols are not in market %r, and are skipped: %s; %s",
        *(source, len(unknown), len(symbols), market.name, shorten(unknown), hint),
    )
    return stocks


def _to_concepts(periods: pd.DataFrame, market: Market, source: str) -> Concepts:
    """Create concepts from memberships; reject reversed and overlapping periods."""

    def reject(fault: str, row: "pd.Series[str]") -> None:
        first, last = (f"{row[end]:%Y-%m-%d}" for end in ("from", "to"))
        raise InputError(
            f"{source}: {row['symbol']} in {row['concept']!r} from {first} to {last} {fault}"
        )

    reversed_ = periods[periods["from"] > periods["to"]]
    if len(reversed_):
        reject("ends before it starts", reversed_.iloc[0])
    pairs = periods.groupby(["symbol", "concept"])
    overlapping = periods[periods["from"] <= pairs["to"].shift()]
    if len(overlapping):
        reject("overlaps another period of this stock and concept", overlapping.iloc[0])
    codes, names = pd.factorize(periods["concept"], sort=True)
    stocks = periods["stock"].to_numpy(dtype=np.int64, copy=True)
    log.info(
        "%d concepts, to which %d of %d stocks belong",
        *(len(names), len(np.unique(stocks)), len(market.symbols)),
    )
    return Concepts(
        names=tuple(map(str, names)),
        n_stocks=len(market.symbols),
        stocks=torch.from_numpy(stocks),
        concepts=torch.from_numpy(codes.astype(np.int64)),
        first=torch.from_numpy(market.dates.searchsorted(periods["from"], "left")),
        last=torch.from_numpy(market.dates.searchsorted(periods["to"], "right") - 1),
        weights=torch.tensor(periods["weight"].to_numpy(np.float32)),
    )


def always(
    names: Sequence[str],
    stocks: "np.typing.NDArray[np.int64]",
    concepts: "np.typing.NDArray[np.int64]",
    market: Market,
) -> Concepts:
    """Return concepts whose memberships hold on all days, with weight 1.

    Args:
        names: [C].
        stocks: [M], columns of the universe.
        concepts: [M], indices of ``names``.
        market: The market.
    """
    return Concepts(
        names=tuple(names),
        n_stocks=len(market.symbols),
        stocks=torch.from_numpy(stocks),
        concepts=torch.from_numpy(concepts),
        first=torch.zeros(len(stocks), dtype=torch.long),
        last=torch.full((len(stocks),), len(market.dates) - 1),
        weights=torch.ones(len(stocks)),
    )
