"""Score tables of any tool: read, checked, and joined with the returns of a market."""

import logging
from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.data.dates import DateRules, parse_dates
from alphazoo.data.labels import Label
from alphazoo.data.market import Market
from alphazoo.data.symbols import explain_unknown, find_symbols, parse_symbols, setting_text
from alphazoo.data.tables import AnyTable, Rows, column_names, name_table, open_table, read_columns
from alphazoo.data.values import parse_labels, parse_numbers, refuse_twice
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
    table: AnyTable,
    *,
    columns: Mapping[str, str] | None = None,
    date_format: str | None = None,
    timezone: str | None = None,
) -> pd.DataFrame:
    """Read a table with one score per date and symbol.

    Scores that are not finite are counted in the log and left out.

    Args:
        table: A ``.parquet``, ``.csv`` or ``.csv.gz`` file, a DataFrame or another table that Arrow
            can read, with the columns, or levels of its index, ``date`` or ``datetime``, ``symbol``
            or ``instrument``, ``score`` and, where it has them, ``return`` (raw forward return, a
            fraction) and ``split``. A Series is the scores.
        columns: Names in the table, by those five, where they are others.
        date_format: Format of dates that are text, see `alphazoo.data.sources.table.read_table`.
        timezone: Where the stocks trade, if the dates are timestamps in UTC.

    Returns:
        ``date``, ``symbol``, ``score`` and those of ``return``, ``split`` that the table has.

    Raises:
        InputError: The file cannot be read, has no rows or lacks a column, a date, symbol or number
            cannot be parsed, a pair of date and symbol stands twice, or on no day do scores differ.
    """
    if isinstance(table, pd.Series):
        table = table.to_frame("score")
    opened = open_table(table, "scores")
    source = name_table(opened)
    names = _find_names(column_names(opened), columns or {}, source)
    numbers = [name for name in ("score", "return") if name in names]
    found = read_columns(opened, names, key="columns", optional=OPTIONAL, numbers=numbers)
    rules = DateRules(date_format, timezone, setting="{}={} in read_scores")
    dates, days = parse_dates(found, "date", rules)
    symbols, stocks = parse_symbols(found)
    refuse_twice(found, dates, symbols, days, stocks)

    def key(row: int) -> str:
        return f"{symbols[stocks[row]]} on {dates[days[row]]:%Y-%m-%d}"

    frame = pd.DataFrame({"date": dates[days], "symbol": pd.Index(symbols, dtype="str")[stocks]})
    for name in names:
        if name in numbers:
            frame[name] = parse_numbers(found, name, key).astype(np.float64)
        elif name == "split":
            frame[name] = parse_labels(found, name)
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
            names[name] = setting_text(columns[name], f"columns.{name}")
        elif len(matches) > 1:
            raise InputError(f"{source}: which column is the {name}, {' or '.join(matches)}?")
        elif matches:
            names[name] = matches[0]
        elif name not in OPTIONAL:
            raise InputError(
                f"{source} has no column {' or '.join(aliases)}: call one so, or give read_scores "
                f"its name as columns={{{name!r}: NAME}}; there is {shorten(found, 20)}"
            )
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
        if not known.all():
            lacks = _name_unknown(scores, rows, stocks, market)
            scores = _keep(scores, known, f"of what market {market.name!r} lacks ({lacks})")
    rows, stocks = locate(scores, market)
    present = market.present.numpy()[rows, stocks]
    returns = label.returns(market.field("close")).numpy()[rows, stocks]
    symbols = pd.Index(market.symbols, dtype="str")[stocks]  # in its spelling
    table = scores.assign(symbol=symbols, **{"return": returns})
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
        lacks = _name_unknown(scores, rows, stocks, market)
        raise InputError(f"the scores have {lacks}; drop_unknown leaves them out")
    return rows, stocks


def _find(scores: pd.DataFrame, market: Market) -> tuple[Rows, Rows]:
    """As `locate`, -1 where the market lacks it."""
    days, dates = pd.factorize(scores["date"])
    codes, symbols = pd.factorize(scores["symbol"])
    rows = market.dates.get_indexer(pd.DatetimeIndex(dates))
    return rows[days], find_symbols([*symbols], market.symbols)[codes]


def _keep(scores: pd.DataFrame, wanted: Flags, fault: str) -> pd.DataFrame:
    """The wanted rows [R]; how many are not, and why, goes to the log."""
    if wanted.all():
        return scores
    log.warning("%d of %d scores are %s; left out", (~wanted).sum(), len(scores), fault)
    return scores[wanted]


def _name_unknown(scores: pd.DataFrame, rows: Rows, stocks: Rows, market: Market) -> str:
    """The symbols and dates that the market lacks."""
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
            f"{len(dates)} dates that are no trading days of market {market.name!r} "
            f"({market.dates[0]:%Y-%m-%d} to {market.dates[-1]:%Y-%m-%d}): {days}"
        )
    return ", and ".join(faults)
