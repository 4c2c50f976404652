"""Concepts from a table with one row per membership."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from alphazoo.errors import InputError, did_you_mean, shorten
from alphazoo.market.concepts import Concepts, is_data
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
