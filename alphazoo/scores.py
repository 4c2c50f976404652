"""Score tables of any tool: read, checked, and joined with the returns of a market."""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.data.labels import Label
from alphazoo.data.market import Market
from alphazoo.data.tables import (
    Rows,
    column_names,
    name_table,
    parse_dates,
    parse_numbers,
    parse_symbols,
    read_columns,
    refuse_twice,
)
from alphazoo.errors import InputError, did_you_mean, shorten

log = logging.getLogger(__name__)

Flags = npt.NDArray[np.bool_]

NAMES = {  # of a column, and how tools call it, in any case
    "date": ("date", "datetime"),
    "symbol": ("symbol", "instrument"),
    "score": ("score",),
    "return": ("return",),
    "split": ("split",),
}
OPTIONAL = ("return", "split")


def read_scores(
    table: str | Path | pd.DataFrame, *, columns: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Read a table with one score per date and symbol.

    Scores that are not finite are counted in the log and left out.

    Args:
        table: A ``.parquet``, ``.csv`` or ``.csv.gz`` file or a DataFrame, with the columns, or
            levels of its index, ``date`` or ``datetime``, ``symbol`` or ``instrument``, ``score``
            and, where it has them, ``return`` (raw forward return, a fraction) and ``split``.
        columns: Names in the table, by those five, where they are others.

    Returns:
        ``date``, ``symbol``, ``score`` and those of ``return``, ``split`` that the table has.

    Raises:
        InputError: The file cannot be read, has no rows or lacks a column, a date or number
            cannot be parsed, a pair of date and symbol stands twice, or on no day do scores differ.
    """
    source = name_table(table)
    if isinstance(table, pd.DataFrame):
        levels = {*table.index.names} - {None, *table.columns}
        table = table.reset_index(level=[*levels]) if levels else table
    names = _find_names(column_names(table), columns or {}, source)
    text = [name for name in ("symbol", "split") if name in names]
    frame = read_columns(table, names, key="columns", optional=OPTIONAL, text=text)
    frame["date"] = parse_dates(frame["date"], source)
    days, dates = pd.factorize(frame["date"], sort=True)
    symbols, stocks = parse_symbols(frame["symbol"], source)
    refuse_twice(pd.DatetimeIndex(dates), symbols, days, stocks, source)
    frame["symbol"] = pd.Index(symbols, dtype="str")[stocks]
    for name in {"score", "return"} & names.keys():
        numbers = parse_numbers(frame[name], name, source)
        frame[name] = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    frame = _keep(frame, np.isfinite(frame["score"].to_numpy()), f"not finite in {source}")
    of_days = frame.groupby("date")["score"]
    if not (of_days.max() > of_days.min()).any():
        raise InputError(f"{source}: on no day do two stocks have different finite scores")
    return frame.reset_index(drop=True)


def _find_names(found: Collection[str], columns: Mapping[str, str], source: str) -> dict[str, str]:
    """The name in the table of each column that there is or must be."""
    for name in columns:
        if name not in NAMES:
            raise InputError(f"columns has an unknown key {name!r}; {did_you_mean(name, NAMES)}")
    names = {}
    for name, aliases in NAMES.items():
        matches = [column for column in found if str(column).lower() in aliases]
        if name in columns:
            names[name] = columns[name]
        elif len(matches) > 1:
            raise InputError(f"{source}: which column is the {name}, {' or '.join(matches)}?")
        elif matches or name not in OPTIONAL:
            names[name] = matches[0] if matches else name
    return names


def join_returns(
    scores: pd.DataFrame, market: Market, label: Label, *, drop_unknown: bool = False
) -> pd.DataFrame:
    """Add the raw forward return of a market, and keep the rows of the stocks of each day.

    The stocks of a day are the members of the universe with a price on it; rows of others are
    counted in the log and left out.

    Args:
        scores: As `read_scores` returns them; a ``return`` that is there already is replaced.
        market: Gives closes and members.
        label: Gives the holding period.
        drop_unknown: Leave out, instead of refusing, symbols and dates that the market lacks.

    Returns:
        The same columns, with ``return``, a fraction per holding period, NaN where unknown.

    Raises:
        InputError: The market lacks a symbol or date, or no row is left.
    """
    if drop_unknown:
        rows, stocks = _find(scores, market)
        known = (rows >= 0) & (stocks >= 0)
        scores = _keep(scores, known, f"of symbols or dates that market {market.name!r} lacks")
    rows, stocks = locate(scores, market)
    present = market.present.numpy()[rows, stocks]
    returns = label.returns(market.field("close")).numpy()[rows, stocks]
    table = scores.assign(**{"return": returns})
    table = _keep(table, present, f"not of members of market {market.name!r} with a price that day")
    if table.empty:
        raise InputError(f"no score is of a member of market {market.name!r} with a price that day")
    return table.reset_index(drop=True)


def locate(scores: pd.DataFrame, market: Market) -> tuple[Rows, Rows]:
    """Row of the calendar and column of the universe of each score: [R] each.

    Raises:
        InputError: The market lacks a symbol or date.
    """
    rows, stocks = _find(scores, market)
    if (rows < 0).any() or (stocks < 0).any():
        raise _unknown(scores, rows, stocks, market)
    return rows, stocks


def _find(scores: pd.DataFrame, market: Market) -> tuple[Rows, Rows]:
    """As `locate`, -1 where the market lacks it."""
    days, dates = pd.factorize(scores["date"])
    codes, symbols = pd.factorize(scores["symbol"])
    rows = market.dates.get_indexer(pd.DatetimeIndex(dates))
    return rows[days], pd.Index(market.symbols).get_indexer(pd.Index(symbols))[codes]


def _keep(scores: pd.DataFrame, wanted: Flags, fault: str) -> pd.DataFrame:
    """The wanted rows [R]; how many are not, and why, goes to the log."""
    if wanted.all():
        return scores
    log.warning("%d of %d scores are %s; left out", (~wanted).sum(), len(scores), fault)
    return scores[wanted]


def _unknown(scores: pd.DataFrame, rows: Rows, stocks: Rows, market: Market) -> InputError:
    """The error that lists what the market lacks."""
    faults = []
    symbols = scores["symbol"][stocks < 0].unique()
    if len(symbols):
        faults.append(
            f"{len(symbols)} symbols that market {market.name!r} lacks: {shorten(symbols)}; "
            f"there it is {shorten(market.symbols, limit=3)}"
        )
    dates = scores["date"][rows < 0].unique()
    if len(dates):
        days = shorten(f"{date:%Y-%m-%d}" for date in dates)
        faults.append(
            f"{len(dates)} dates that are no trading days of market {market.name!r} "
            f"({market.dates[0]:%Y-%m-%d} to {market.dates[-1]:%Y-%m-%d}): {days}"
        )
    return InputError(f"the scores have {', and '.join(faults)}; drop_unknown leaves them out")
