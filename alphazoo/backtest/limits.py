"""Price limits of A shares: how far a stock may move from its previous close, by board and date.

| board | codes | limit | since |
|---|---|---|---|
| main | all others | 10% | 1996-12-16 |
| ChiNext | Shenzhen 300 to 302 | 10%, then 20% | 2009-10-30, 2020-08-24 |
| STAR | Shanghai 688, 689 | 20% | 2019-07-22 |
| Beijing | 4, 8, 920 | 30% | 2020-07-27, on NEEQ's select tier until 2021-11-14 |
| main, ST | | 5%, then 10% | 1998-04-22, 2026-07-06 |

Sources: the Trading Rules of the three exchanges; for STAR the Special Rules for the Trading of
Stocks on the STAR Market (http://star.sse.com.cn/en/gettingstarted/features/trading), for ChiNext
the Special Trading Rules of June 2020, in force since its first registered listing; for ST in 2026
the circular of HKEX on the amended rules of both exchanges, 15 June 2026.

The days after a listing are not told apart: STAR and ChiNext (since their 20%) and the main board
(since 2023-04-10) have no limit for five days, Beijing for one, and the main board had 44% on the
first day before. A stock has no limit on its first day in the data, as it has no previous close; on
the four days that follow a larger move counts as the limit. The column ``limit`` says otherwise.
"""

import re
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.data.market import Market
from alphazoo.errors import InputError, shorten

Limits = npt.NDArray[np.float64]
Rule = tuple[tuple[str, float], ...]  # first day and limit, in order

REACHED = 0.95  # of the limit: a limit price is rounded to 0.01, half a per cent of a price of 1

MAIN: Rule = (("1996-12-16", 0.10),)
ST: Rule = (("1998-04-22", 0.05), ("2026-07-06", 0.10))
BOARDS: Mapping[str, Rule] = {
    "main": MAIN,
    "chinext": (("2009-10-30", 0.10), ("2020-08-24", 0.20)),
    "star": (("2019-07-22", 0.20),),
    "beijing": (("2020-07-27", 0.30),),
}

SYMBOL = re.compile(r"(?:([A-Z]+)[._]?)?(\d{6})(?:[._]?([A-Z]+))?")
EXCHANGES = {
    **dict.fromkeys(("SH", "SS", "SSE", "SHSE", "XSHG"), "shanghai"),
    **dict.fromkeys(("SZ", "SZE", "SZSE", "XSHE"), "shenzhen"),
    **dict.fromkeys(("BJ", "BSE", "BJSE", "XBSE"), "beijing"),
}
CODES = (  # board, exchange, beginnings of codes
    ("chinext", "shenzhen", ("300", "301", "302")),
    ("star", "shanghai", ("688", "689")),
    ("beijing", "beijing", ("4", "8", "920")),
)


def find_board(symbol: str) -> str | None:
    """The board of a stock by its symbol: a key of `BOARDS`, or None where the shape is unknown.

    A symbol is a code of six digits, alone or with its exchange before or after it, in any case:
    ``600000``, ``SH600000``, ``sz.300001``, ``600000.SH``, ``600000.XSHG``.
    """
    found = SYMBOL.fullmatch(symbol.strip().upper())
    if found is None:
        return None
    before, code, after = found.groups()
    word = before or after
    if (before and after) or (word and word not in EXCHANGES):
        return None
    exchange = EXCHANGES[word] if word else None
    if exchange == "beijing":
        return "beijing"
    for board, place, beginnings in CODES:
        if exchange in (None, place) and code.startswith(beginnings):
            return board
    return "main"


def a_share_limits(market: Market, rows: range) -> Limits:
    """The limits of some days.

    The market's own columns (``data.extra``) are used where it has them: ``limit``, a fraction of
    the previous close, comes before the rules where it is known; ``st`` is 1 on the days on which
    a stock of the main board has the limit of ST stocks.

    Args:
        market: Whose symbols say the board; one of unknown shape has the limit of the main board.
        rows: Days of the calendar.

    Returns:
        [d, S], fractions of the previous close; infinite where there is no limit.

    Raises:
        InputError: ``limit`` is not above 0 and to 1 somewhere, or ``st`` neither 0 nor 1.
    """
    dates = market.dates[rows.start : rows.stop]
    boards = np.array([[*BOARDS].index(find_board(symbol) or "main") for symbol in market.symbols])
    limits = np.stack([_since(rule, dates) for rule in BOARDS.values()], axis=1)[:, boards]
    if "st" in market.fields:
        flags = _column(market, rows, "st", "0 or 1", lambda x: (x == 0) | (x == 1))
        special = (flags == 1) & (boards == [*BOARDS].index("main"))
        limits = np.where(special, np.minimum(limits, _since(ST, dates)[:, None]), limits)
    if "limit" in market.fields:
        of_day = _column(
            market,
            rows,
            "limit",
            "a fraction of the previous close, above 0 and to 1, such as 0.1",
            lambda x: (x > 0) & (x <= 1),
        )
        limits = np.where(np.isfinite(of_day), of_day, limits)
    return limits


def unknown_boards(market: Market) -> list[str]:
    """Symbols whose shape does not say their board."""
    return [symbol for symbol in market.symbols if find_board(symbol) is None]


def _since(rule: Rule, dates: pd.DatetimeIndex) -> Limits:
    """[d], the limit on each day; infinite before the first."""
    starts = pd.DatetimeIndex([day for day, _ in rule])
    limits = np.array([np.inf, *(limit for _, limit in rule)])
    on_day: Limits = limits[starts.searchsorted(dates, side="right")]
    return on_day


def _column(
    market: Market,
    rows: range,
    name: str,
    expected: str,
    good: Callable[[Limits], npt.NDArray[np.bool_]],
) -> Limits:
    """[d, S], an own column of the market, NaN where unknown."""
    values: Limits = market.field(name)[rows.start : rows.stop].double().numpy()
    wrong = np.argwhere(np.isfinite(values) & ~good(values))
    if len(wrong):
        listed = shorten(
            f"{values[day, stock]:g} of {market.symbols[stock]} on "
            f"{market.dates[rows.start + day]:%Y-%m-%d}"
            for day, stock in wrong[:3].tolist()
        )
        raise InputError(
            f"column {name!r} of market {market.name!r} is {expected}, got {len(wrong):,} other "
            f"values, such as {listed}; backtest.exchange.limit=0.095 does not read the column"
        )
    return values
