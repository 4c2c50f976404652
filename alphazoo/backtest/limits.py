"""Price limits of A shares: the largest move from the previous close, by board and date.

========  ====================  ================  ===================================
board     codes                 limit             since
========  ====================  ================  ===================================
main      all others            10%               1996-12-16
ChiNext   Shenzhen 300 to 302   10%, then 20%     2009-10-30, 2020-08-24
STAR      Shanghai 688, 689     20%               2019-07-22
Beijing   4, 8, 920             30%               2020-07-27, on NEEQ's select tier
                                                  until 2021-11-14
main, ST  column ``st``         5%, then 10%      1998-04-22, 2026-07-06
========  ====================  ================  ===================================

Sources: the Trading Rules of the three exchanges; for STAR the Special Rules for the Trading of
Stocks on the STAR Market (http://star.sse.com.cn/en/gettingstarted/features/trading), for ChiNext
the Special Trading Rules of June 2020, in force since its first registered listing; for ST in 2026
the circular of HKEX on the amended rules of both exchanges, 15 June 2026.

The rules for the first days after a listing are not modelled: STAR and ChiNext (since its limit is
20%) and the main board (since 2023-04-10) have no limit for five days, Beijing has none for one
day, and before, the main board had 44% on the first day. Here, a stock has no limit on its first
day in the data, because it has no previous close, and the usual limit on later days. The column
``limit`` overrides these rules.
"""

import re
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphazoo.errors import InputError, shorten
from alphazoo.market.market import Market

Limits = npt.NDArray[np.float64]
Rule = tuple[tuple[str, float], ...]  # first day and limit, in order

REACHED = 0.95  # share of a limit at which it counts as reached: limit prices are rounded to 0.01

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
CODES = (  # board, exchange, prefixes of codes
    ("chinext", "shenzhen", ("300", "301", "302")),
    ("star", "shanghai", ("688", "689")),
    ("beijing", "beijing", ("4", "8", "920")),
)


def find_board(symbol: str) -> str | None:
    """Return the board of a symbol, a key of `BOARDS`; None if the symbol has an unknown format.

    A symbol is a code of six digits, alone or with its exchange before or after it, in any case:
    ``600000``, ``SH600000``, ``sz.300001``, ``600000.SH``, ``600000.XSHG``.
    """
    found = SYMBOL.fullmatch(symbol.strip().upper())
    if found is None:
        return None
    before, code, after = found.groups()
    given = before or after
    if (before and after) or (given and given not in EXCHANGES):
        return None
    exchange = EXCHANGES[given] if given else None
    if exchange == "beijing":
        return "beijing"
    for board, listed_on, prefixes in CODES:
        if exchange in (None, listed_on) and code.startswith(prefixes):
            return board
    return "main"


def a_share_limits(market: Market, rows: range) -> Limits:
    """Return the price limits of some days.

    Extra columns of the market (``data.extra``) refine the rules. ``limit``, a fraction of the
    previous close, overrides them where it is known. ``st`` is 1 on days on which a stock of the
    main board has the limit of ST stocks.

    Args:
        market: The market. Its symbols determine the boards; symbols of unknown format have the
            limit of the main board.
        rows: Rows of the calendar.

    Returns:
        [d, S], fractions of the previous close; infinite without a limit.

    Raises:
        InputError: A value of ``limit`` is not above 0 and at most 1, or a value of ``st`` is
            neither 0 nor 1.
    """
    dates = market.dates[rows.start : rows.stop]
    boards = np.array([[*BOARDS].index(find_board(symbol) or "main") for symbol in market.symbols])
    limits = np.stack([_since(rule, dates) for rule in BOARDS.values()], axis=1)[:, boards]
    if "st" in market.fields:
        flags = _column(market, rows, "st", "0 or 1", lambda x: (x == 0) | (x == 1))
        special = (flags == 1) & (boards == [*BOARDS].index("main"))
        limits = np.where(special, np.minimum(limits, _since(ST, dates)[:, None]), limits)
    if "limit" in market.fields:
        given = _column(
            market,
            rows,
            "limit",
            "a fraction of the previous close above 0 and at most 1, such as 0.1",
            lambda x: (x > 0) & (x <= 1),
        )
        limits = np.where(np.isfinite(given), given, limits)
    return limits


def unknown_boards(market: Market) -> list[str]:
    """Return the symbols whose format does not reveal their board."""
    return [symbol for symbol in market.symbols if find_board(symbol) is None]


def _since(rule: Rule, dates: pd.DatetimeIndex) -> Limits:
    """Return the limit on each day, [d]; infinite before the first day of the rule."""
    starts = pd.DatetimeIndex([day for day, _ in rule])
    limits = np.array([np.inf, *(limit for _, limit in rule)])
    daily: Limits = limits[starts.searchsorted(dates, side="right")]
    return daily


def _column(
    market: Market,
    rows: range,
    name: str,
    expected: str,
    valid: Callable[[Limits], npt.NDArray[np.bool_]],
) -> Limits:
    """Return an extra column of the market, [d, S], after checking its values; NaN if unknown."""
    values: Limits = market.field(name)[rows.start : rows.stop].double().numpy()
    wrong = np.argwhere(np.isfinite(values) & ~valid(values))
    if len(wrong):
        listed = shorten(
            f"{values[day, stock]:g} of {market.symbols[stock]} on "
            f"{market.dates[rows.start + day]:%Y-%m-%d}"
            for day, stock in wrong[:3].tolist()
        )
        raise InputError(
            f"column {name!r} of market {market.name!r} must be {expected}, but has {len(wrong):,} "
            f"other values, such as {listed}; backtest.exchange.limit=0.095 ignores the column"
        )
    return values
