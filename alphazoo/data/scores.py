"""Read and check the score tables of any tool, and join them with the returns of a market."""

import logging
from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from alphazoo.data.labels import Label
from alphazoo.errors import InputError, did_you_mean, shorten
from alphazoo.market.dates import DateRules, parse_dates
from alphazoo.market.market import Market
from alphazoo.market.symbols import explain_unknown, find_symbols, parse_text_setting
from alphazoo.market.tables import (
    AnyTable,
    Rows,
    column_names,
    name_table,
    open_table,
    read_columns,
)
from alphazoo.market.values import check_unique, parse_labels, parse_numbers, parse_symbols

log = logging.getLogger(__name__)

Flags = npt.NDArray[np.bool_]

NAMES = {  # column -> names that tools give it, case-insensitive
    "date": ("date", "datetime"),
    "symbol": ("symbol", "instrument"),
    "score": ("score",),
    "return": ("return",),
    "split": ("split",),
}
OPTIONAL = ("return", "split")


def read_scores(
    table: AnyTable,
    *,
    columns: Mapping[str, str] | None = None,
    date_format: str | None = None,
    timezone: str | None = None,
) -> pd.DataFrame:
    """Read a table with one score per date and symbol.

    Rows whose score is not finite are dropped; a warning counts them.

    Args:
        table: A ``.parquet``, ``.csv`` or ``.csv.gz`` file, a DataFrame or another table that Arrow
            can read. Its columns or index levels are ``date`` or ``datetime``, ``symbol`` or
            ``instrument``, ``score`` and optionally ``return`` (raw forward return, a fraction) and
            ``split``. A Series holds the scores.
        columns: The table's own column names, by the names ``date``, ``symbol``, ``score``,
            ``return`` and ``split``.
        date_format: Format of dates that are text, see `alphazoo.market.sources.table.read_table`.
        timezone: Time zone of the exchange, if the dates are timestamps in UTC.

    Returns:
        The columns ``date``, ``symbol``, ``score`` and, if the table has them, ``return`` and
        ``split``.

    Raises:
        InputError: The file cannot be read, has no rows or lacks a column; a date, symbol or number
            cannot be parsed; a pair of date and symbol is repeated; or all scores of each day are
            equal.
    """
    if isinstance(table, pd.Series):
        table = table.to_frame("score")
    opened = open_table(table, "scores")
    source = name_table(opened)
    names = _find_names(column_names(opened), columns or {}, source)
    numbers = [name for name in ("score", "return") if name in names]
    found = read_columns(opened, names, key="columns", optional=OPTIONAL, numbers=numbers)
    rules = DateRules(date_format, timezone, setting="{}={}")
    dates, days = parse_dates(found, "date", rules)
    symbols, stocks = parse_symbols(found)
    check_unique(found, dates, symbols, days, stocks)

    def key(row: int) -> str:
        return f"{symbols[stocks[row]]} on {dates[days[row]]:%Y-%m-%d}"

    frame = pd.DataFrame({"date": dates[days], "symbol": pd.Index(symbols, dtype="str")[stocks]})
    for name in names:
        if name in numbers:
            frame[name] = parse_numbers(found, name, key).astype(np.float64)
        elif name == "split":
            frame[name] = parse_labels(found, name)
    frame = _keep(frame, np.isfinite(frame["score"].to_numpy()), f"not finite in {source}")
    daily = frame.groupby("date")["score"]
    if not (daily.max() > daily.min()).any():
        raise InputError(f"{source}: on no day do two stocks have different finite scores")
    return frame.reset_index(drop=True)


def _find_names(found: Collection[str], columns: Mapping[str, str], source: str) -> dict[str, str]:
    """Return the table's own name of each column that it has; required columns must exist."""
    for name in columns:
        if name not in NAMES:
            raise InputError(f"columns has an unknown key {name!r}; {did_you_mean(name, NAMES)}")
    names = {}
    for name, aliases in NAMES.items():
        matches = [column for column in found if str(column).lower() in aliases]
        if name in columns:
            names[name] = parse_text_setting(columns[name], f"columns.{name}")
        elif len(matches) > 1:
            raise InputError(
                f"{source} has several columns for {name}: {', '.join(matches)}; "
                f"{_setting(name)} chooses one"
            )
        elif matches:
            names[name] = matches[0]
        elif name not in OPTIONAL:
            raise InputError(
                f"{source} has no column {' or '.join(aliases)}: {_setting(name)} gives its name; "
                f"available: {shorten(found, 20)}"
            )
    return names


def _setting(name: str) -> str:
    """How to choose a column, on the command line and in Python."""
    return f"columns.{name}=NAME (in Python, columns={{{name!r}: NAME}})"


def join_returns(
    scores: pd.DataFrame, market: Market, label: Label, *, drop_unknown: bool = False
) -> pd.DataFrame:
    """Add the raw forward returns of a market to scores.

    Only members of the universe with a price on the day are kept; a warning counts the rows that
    are dropped.

    Args:
        scores: A table as returned by `read_scores`; an existing column ``return`` is replaced.
        market: The closes and the members of the universe.
        label: The holding period.
        drop_unknown: Drop the symbols and dates that the market lacks instead of raising an error.

    Returns:
        The same columns and ``return``, a fraction per holding period, NaN where unknown.

    Raises:
        InputError: The market lacks a symbol or date, or no row remains.
    """
    if drop_unknown:
        rows, stocks = _find(scores, market)
        known = (rows >= 0) & (stocks >= 0)
        if not known.all():
            lacks = _name_unknown(scores, rows, stocks, market)
            scores = _keep(scores, known, f"not in market {market.name!r} ({lacks})")
    rows, stocks = locate_rows(scores, market)
    present = market.present.numpy()[rows, stocks]
    returns = label.returns(market.field("close")).numpy()[rows, stocks]
    symbols = pd.Index(market.symbols, dtype="str")[stocks]  # as the market spells them
    table = scores.assign(symbol=symbols, **{"return": returns})
    table = _keep(table, present, f"not of members of market {market.name!r} with a price that day")
    if table.empty:
        raise InputError(f"no score is of a member of market {market.name!r} with a price that day")
    return table.reset_index(drop=True)


def panel_scores(panel: Tensor, market: Market, label: Label) -> pd.DataFrame:
    """Return the values of a panel as scores of the market's members, with their returns.

    A feature can so be judged as if it were the score of a model.

    Args:
        panel: [D, S], such as a result of a feature function; NaN for no score.
        market: The market that it was computed from.
        label: The holding period.

    Returns:
        Columns ``date``, ``symbol``, ``score``, ``return``, for members with a price.

    Raises:
        InputError: The panel has another shape, or on no day two different scores.
    """
    if panel.shape != market.members.shape:
        shapes = f"{[*panel.shape]}, expected {[*market.members.shape]}"
        raise InputError(f"the panel is {shapes}, the days and stocks of market {market.name!r}")
    days, stocks = torch.where(market.present & panel.isfinite())
    table = pd.DataFrame(
        {
            "date": market.dates[days.numpy()],
            "symbol": pd.Index(market.symbols)[stocks.numpy()],
            "score": panel[days, stocks].numpy(),
        }
    )
    return join_returns(read_scores(table), market, label)


def locate_rows(scores: pd.DataFrame, market: Market) -> tuple[Rows, Rows]:
    """Return the calendar row and the universe column of each score, [R] each.

    Raises:
        InputError: The market lacks a symbol or date.
    """
    rows, stocks = _find(scores, market)
    if (rows < 0).any() or (stocks < 0).any():
        lacks = _name_unknown(scores, rows, stocks, market)
        raise InputError(f"the scores have {lacks}; drop_unknown=true drops them")
    return rows, stocks


def _find(scores: pd.DataFrame, market: Market) -> tuple[Rows, Rows]:
    """Return the same as `locate_rows`, but -1 where the market lacks the date or symbol."""
    days, dates = pd.factorize(scores["date"])
    codes, symbols = pd.factorize(scores["symbol"])
    rows = market.dates.get_indexer(pd.DatetimeIndex(dates))
    return rows[days], find_symbols([*symbols], market.symbols)[codes]


def _keep(scores: pd.DataFrame, kept: Flags, reason: str) -> pd.DataFrame:
    """Keep the rows [R] that are flagged; warn how many others are dropped, and why."""
    if kept.all():
        return scores
    log.warning("%d of %d scores are %s; dropped", (~kept).sum(), len(scores), reason)
    return scores[kept]


def _name_unknown(scores: pd.DataFrame, rows: Rows, stocks: Rows, market: Market) -> str:
    """Describe the symbols and dates that the market lacks."""
    faults = []
    symbols = scores["symbol"][stocks < 0].unique()
    if len(symbols):
        hint = explain_unknown([*symbols], market.symbols)
        faults.append(
            f"{len(symbols)} symbols that market {market.name!r} lacks: {shorten(symbols)}; {hint}"
        )
    dates = scores["date"][rows < 0].unique()
    if len(dates):
        days = shorten(f"{date:%Y-%m-%d}" for date in dates)
        faults.append(
            f"{len(dates)} dates that are not trading days of market {market.name!r} "
            f"({market.dates[0]:%Y-%m-%d} to {market.dates[-1]:%Y-%m-%d}): {days}"
        )
    return ", and ".join(faults)
