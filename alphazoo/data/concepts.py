"""Concepts: which stock belongs to which sector, theme or group, and when.

From a table, or built from the train days.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from alphazoo.bounds import PositiveInt
from alphazoo.data.market import Market
from alphazoo.data.tables import column_names, name_table, parse_dates, read_columns
from alphazoo.errors import InputError, did_you_mean, shorten

log = logging.getLogger(__name__)

REQUIRED = ("symbol", "concept")
OPTIONAL = ("from", "to", "weight")
EVER = {"from": pd.Timestamp("1700-01-01"), "to": pd.Timestamp("2200-01-01")}  # an open period


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
    if isinstance(source, str | Path):
        return read_concepts(market, train, table=source)
    try:
        return source(market, train)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"cannot make the concepts: {error}") from error


def read_concepts(
    market: Market,
    train: Sequence[int],
    *,
    table: str | Path | pd.DataFrame,
    columns: Mapping[str, str | Sequence[str] | None] | None = None,
) -> Concepts:
    """Read a table with one row per stock and concept.

    A stock in no row has no concept; a symbol outside the market is left out.

    Args:
        market: Gives symbols and calendar.
        train: Not used: what a table says is known.
        table: A ``.parquet`` or ``.csv`` file, or a DataFrame.
        columns: Names in the table of ``symbol``, ``concept`` (one column or several, such as
            ``[sector, industry]``) and, where wanted, of ``from`` and ``to``, the first and the
            last day of a membership (empty: open), and ``weight``, above 0, such as the market
            value. A name left out is itself for the first two, absent for the others. None: all
            five are themselves, the last three where the table has them.

    Raises:
        InputError: A file or column is missing, a date or weight is wrong, a period is reversed
            or overlaps another of the same stock and concept, or no symbol is in the market.
    """
    source = name_table(table)
    if columns is None:
        columns = {name: name for name in OPTIONAL if name in column_names(table)}
    given = dict(columns)
    for name in given:
        if name not in (*REQUIRED, *OPTIONAL):
            hint = did_you_mean(name, (*REQUIRED, *OPTIONAL))
            raise InputError(f"data.concepts.columns has an unknown key {name!r}; {hint}")
    labels = given.get("concept") or "concept"
    labels = [labels] if isinstance(labels, str) else list(labels)
    names = {"symbol": str(given.get("symbol") or "symbol")}
    names |= {f"concept{i or ''}": label for i, label in enumerate(labels)}
    names |= {name: str(given[name]) for name in OPTIONAL if given.get(name)}
    text = [name for name in names if name not in OPTIONAL]
    frame = read_columns(table, names, key="data.concepts.columns", optional=OPTIONAL, text=text)

    if len(labels) > 1:  # a sector and an industry may share a name
        for name, label in zip(text[1:], labels, strict=True):
            frame[name] = f"{label}: " + frame[name].astype(object)
    rest = frame.drop(columns=text[1:])
    frame = pd.concat([rest.assign(concept=frame[name]) for name in text[1:]], ignore_index=True)
    if "from" not in names:
        log.warning("%s has no dates: its concepts are taken to hold in the past, too", source)
    periods = _periods(frame, market, source)
    return _place(periods, market, source)


def correlation_groups(
    market: Market, train: Sequence[int], *, n_groups: int, min_days: PositiveInt
) -> Concepts:
    """Group stocks whose returns move together on the train days, and on these alone.

    Hierarchical clustering (Ward) of daily returns less the mean of the day's stocks, each stock
    scaled to length 1, so that the squared distance of two is 2 - 2 times their correlation.

    Args:
        market: Gives the closes.
        train: Rows of the train days; no other day is looked at.
        n_groups: Number of groups.
        min_days: Stocks with fewer returns have no group.

    Raises:
        InputError: There are fewer stocks with that many returns than groups.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    close = market.field("close")[min(train) : max(train) + 1].double()
    returns = close[1:] / close[:-1] - 1  # [days, S]
    stocks = (returns.isfinite().sum(dim=0) >= min_days).nonzero().squeeze(1)
    if not 1 <= n_groups <= len(stocks):
        raise InputError(
            f"data.concepts.n_groups={n_groups}: {len(stocks)} stocks have {min_days} returns "
            "on the train days"
        )
    moves = returns[:, stocks]
    moves = (moves - moves.nanmean(dim=1, keepdim=True)).nan_to_num()
    unit = moves / moves.norm(dim=0).clamp_min(1e-12)
    groups = fcluster(linkage(unit.T.numpy(), "ward"), n_groups, "maxclust") - 1
    sizes = np.bincount(groups)
    log.info("concepts: %d groups of %d to %d stocks", len(sizes), sizes.min(), sizes.max())
    names = [f"group {number}" for number in range(len(sizes))]
    return always(names, stocks.numpy(), groups.astype(np.int64), market)


def _periods(frame: pd.DataFrame, market: Market, source: str) -> pd.DataFrame:
    """Memberships of stocks of the market with both ends and a weight, checked."""
    if (frame["symbol"].isna() | (frame["symbol"] == "")).any():
        raise InputError(f"{source} has a row without symbol")
    for end, open_end in EVER.items():
        if end not in frame:
            frame[end] = open_end
            continue
        given = frame[end].notna()
        days = pd.Series(open_end, index=frame.index, dtype="datetime64[ns]")
        days[given] = parse_dates(frame.loc[given, end], source)
        frame[end] = days
    if "weight" not in frame:
        frame["weight"] = 1.0
    weights = pd.to_numeric(frame["weight"], errors="coerce")
    wrong = frame[~(weights > 0) | np.isinf(weights)]
    if len(wrong):
        row = wrong.iloc[0]
        raise InputError(
            f"{source}: the weight of {row['symbol']} in {row['concept']!r} is {row['weight']}, "
            "expected a number above 0"
        )
    frame["weight"] = weights
    frame = frame[frame["concept"].notna() & (frame["concept"] != "")]
    known = frame["symbol"].isin(market.symbols)
    if not known.any():
        symbols = shorten(frame["symbol"].unique())
        raise InputError(
            f"{source}: none of its symbols is in market {market.name!r}: {symbols}; there it is "
            f"{shorten(market.symbols)}"
        )
    return frame[known].sort_values(["symbol", "concept", "from"])


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
    stocks = pd.Index(market.symbols).get_indexer(pd.Index(periods["symbol"]))
    log.info(
        "concepts: %d, of %d of %d stocks", len(names), len(np.unique(stocks)), len(market.symbols)
    )
    return Concepts(
        names=tuple(map(str, names)),
        n_stocks=len(market.symbols),
        stocks=torch.from_numpy(stocks.astype(np.int64)),
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
