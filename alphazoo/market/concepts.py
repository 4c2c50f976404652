"""Concepts: which stock belongs to which sector, theme or group, and when.

From a table, or built from the train days.
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
EVER = {"from": pd.Timestamp(FIRST), "to": pd.Timestamp(LAST)}  # an open period


@dataclass(frozen=True, eq=False)
class Concepts:
    """Memberships of stocks in concepts, each with the days on which it is known to hold.

    Attributes:
        names: [C], the concepts.
        n_stocks: S, the size of the universe.
        stocks: [M], column of the universe of each membership.
        concepts: [M], its concept.
        first: [M], the first row of the calendar on which it holds.
        last: [M], the last one.
        weights: [M], 1 where there is no weight.
    """

    names: tuple[str, ...]
    n_stocks: int
    stocks: Tensor
    concepts: Tensor
    first: Tensor
    last: Tensor
    weights: Tensor

    def on(self, day: int, stocks: Tensor) -> Tensor:
        """[N, C], the weights of the memberships that hold on that day; 0 is no member."""
        dense = self.weights.new_zeros(self.n_stocks, len(self.names))
        holds = (self.first <= day) & (day <= self.last)
        dense[self.stocks[holds], self.concepts[holds]] = self.weights[holds]
        return dense[stocks]

    def to(self, device: torch.device) -> "Concepts":
        """Copy on that device."""
        parts = ("stocks", "concepts", "first", "last", "weights")
        return replace(self, **{name: getattr(self, name).to(device) for name in parts})


# makes them from a market and the rows of its train days
ConceptSource = Callable[[Market, Sequence[int]], Concepts]
Source = TypeVar("Source", bound=Callable[..., Concepts])

_DATA: set[object] = set()  # sources whose concepts are data


def is_data(source: Source) -> Source:
    """Mark a source whose concepts are data, like prices: they are read anew by every run."""
    _DATA.add(source)
    return source


def are_learned(source: str | Path | ConceptSource | None) -> bool:
    """Whether a source computes its concepts from the train days.

    Such concepts are part of what a run has learnt and belong to its checkpoint. So are those of
    every function that is not marked by `is_data`.
    """
    while isinstance(source, partial):
        source = source.func
    return callable(source) and source not in _DATA


@is_data
def no_concepts(market: Market, train: Sequence[int]) -> Concepts:
    """C = 0."""
    nobody = np.empty(0, dtype=np.int64)
    return always([], nobody, nobody, market)


def find_concepts(
    source: str | Path | ConceptSource | None, market: Market, train: Sequence[int]
) -> Concepts:
    """The concepts of a market from a table, see `read_concepts`, a function, or none at all.

    Raises:
        InputError: They cannot be read or made.
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
        raise InputError(f"cannot make the concepts: {error}") from error


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
    """Read a table with one row per stock and concept.

    A stock in no row has no concept; symbols outside the market are left out and listed in the log.

    Args:
        market: Gives symbols and calendar.
        train: Not used: what a table says is known.
        table: A ``.parquet``, ``.csv`` or ``.csv.gz`` file, a DataFrame, or another table that
            Arrow can read.
        columns: Names in the table of ``symbol``, ``concept`` (one column or several, such as
            ``[sector, industry]``) and, where wanted, of ``from`` and ``to``, the first and the
            last day of a membership (empty: open), and ``weight``, above 0, such as the market
            value. A name left out is itself for the first two, absent for the others. None: all
            five are themselves, the last three where the table has them.
        date_format: Format of dates that are text, see `alphazoo.market.sources.table.read_table`.
        timezone: Where the stocks trade, if the dates are timestamps in UTC.

    Raises:
        InputError: A file or column is missing, a symbol, date or weight is wrong, a period is
            reversed or overlaps another of the same stock and concept, or no symbol is in the
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
        log.warning("%s has no dates: its concepts are taken to hold in the past, too", found.name)
    rules = DateRules(date_format, timezone, setting="data.concepts.{}={}")
    return _place(_periods(found, labels, market, rules), market, found.name)


def correlation_groups(
    market: Market, train: Sequence[int], *, n_groups: int, min_days: PositiveInt
) -> Concepts:
    """Group stocks whose returns move together on the train days, and on these alone.

    Hierarchical clustering (Ward) of the daily returns of members less the mean of the day's
    members, each stock scaled to length 1, so that the squared distance of two is 2 - 2 times their
    correlation. A return counts on days on which its stock is a member of the universe; indices
    and stocks that are no members have no group and do not change those of others.

    Args:
        market: Gives closes and members.
        train: Rows of the train days; no other day is looked at.
        n_groups: Number of groups.
        min_days: Stocks with fewer returns on days of membership have no group.

    Raises:
        InputError: There are fewer stocks with that many returns than groups.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    days = slice(min(train), max(train) + 1)
    close, members = market.field("close")[days], market.members[days]  # [D, S]
    counts = close[1:].isfinite() & close[:-1].isfinite() & members[1:]
    enough = counts.sum(dim=0) >= min_days
    enough &= torch.tensor([symbol not in market.indices for symbol in market.symbols])
    stocks = enough.nonzero().squeeze(1)
    if not 1 <= n_groups <= len(stocks):
        raise InputError(
            f"data.concepts.n_groups={n_groups}: {len(stocks)} stocks have {min_days} returns "
            "on the train days on which they are members"
        )
    close = close[:, stocks].double()
    moves = (close[1:] / close[:-1] - 1).where(counts[:, stocks], torch.nan)
    moves = (moves - moves.nanmean(dim=1, keepdim=True)).nan_to_num()
    unit = moves / moves.norm(dim=0).clamp_min(1e-12)
    groups = fcluster(linkage(unit.T.numpy(), "ward"), n_groups, "maxclust") - 1
    sizes = np.bincount(groups)
    log.info("concepts: %d groups of %d to %d stocks", len(sizes), sizes.min(), sizes.max())
    names = [f"group {number}" for number in range(len(sizes))]
    return always(names, stocks.numpy(), groups.astype(np.int64), market)


@is_data
def planted_sectors(market: Market, train: Sequence[int]) -> Concepts:
    """The sectors of a synthetic market.

    Raises:
        InputError: The market is not a synthetic one.
    """
    if market.planted is None:
        raise InputError(f"market {market.name!r} has no planted sectors: choose other concepts")
    sectors = market.planted.sectors.numpy()
    names = [f"sector {number}" for number in range(sectors.max() + 1)]
    return always(names, np.arange(len(sectors)), sectors, market)


def _periods(table: Table, labels: Sequence[str], market: Market, rules: DateRules) -> pd.DataFrame:
    """Memberships of stocks of the market with both ends and a weight, checked."""
    symbols, rows = parse_symbols(table)
    stocks = _find_stocks(symbols, market, table.name)
    held = pd.DataFrame({"symbol": np.array(symbols, dtype=object)[rows], "stock": stocks[rows]})
    held["weight"] = parse_numbers(table, "weight") if "weight" in table.names else 1.0
    for end, open_end in EVER.items():
        held[end] = open_end
        if end in table.names:
            days, which = parse_dates(table, end, rules, ends=True)
            held[end] = days.append(pd.DatetimeIndex([open_end]))[which]  # -1 is the last
    parts = []
    for name, label in zip(
        (n for n in table.names if n.startswith("concept")), labels, strict=True
    ):
        concept = parse_labels(table, name)
        if len(labels) > 1:  # a sector and an industry may share a name
            concept = f"{label}: " + concept
        parts.append(held.assign(concept=concept))
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
    """Column of the market of each symbol, -1 for those that it lacks, which the log lists."""
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
        "%s: %d of %d symbols are not in market %r, left out: %s; %s",
        *(source, len(unknown), len(symbols), market.name, shorten(unknown), hint),
    )
    return stocks


def _place(periods: pd.DataFrame, market: Market, source: str) -> Concepts:
    """Refuse reversed and overlapping periods, and find their rows and columns."""

    def refuse(fault: str, row: "pd.Series[str]") -> None:
        first, last = (f"{row[end]:%Y-%m-%d}" for end in ("from", "to"))
        raise InputError(
            f"{source}: {row['symbol']} in {row['concept']!r} from {first} to {last} {fault}"
        )

    reversed_ = periods[periods["from"] > periods["to"]]
    if len(reversed_):
        refuse("ends before it starts", reversed_.iloc[0])
    pairs = periods.groupby(["symbol", "concept"])
    overlapping = periods[periods["from"] <= pairs["to"].shift()]
    if len(overlapping):
        refuse("overlaps another period of the two", overlapping.iloc[0])
    codes, names = pd.factorize(periods["concept"], sort=True)
    stocks = periods["stock"].to_numpy(dtype=np.int64, copy=True)
    log.info(
        "concepts: %d, of %d of %d stocks", len(names), len(np.unique(stocks)), len(market.symbols)
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
    """Memberships that hold on every day."""
    return Concepts(
        names=tuple(names),
        n_stocks=len(market.symbols),
        stocks=torch.from_numpy(stocks),
        concepts=torch.from_numpy(concepts),
        first=torch.zeros(len(stocks), dtype=torch.long),
        last=torch.full((len(stocks),), len(market.dates) - 1),
        weights=torch.ones(len(stocks)),
    )
