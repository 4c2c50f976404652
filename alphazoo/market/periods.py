"""Parses the ends of a period in a setting, each a date, a month or a year."""

import re
from calendar import monthrange
from datetime import date, datetime, time

import pandas as pd

from alphazoo.errors import InputError

FIRST, LAST = date(1700, 1, 1), date(2200, 1, 1)  # ends of an open period; pandas: 1678 to 2261
ISO = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?")


def parse_bound(end: object, side: str, key: str) -> pd.Timestamp | None:
    """Return the first or last day of a date, month (``"2015-03"``) or year (2015).

    Args:
        end: ISO text ``YYYY-MM-DD``, ``YYYY-MM``, ``YYYY`` or ``YYYYMMDD``, an integer like the
            last two, or a date; None for an open end.
        side: ``"left"`` for the first day, ``"right"`` for the last.
        key: The setting, for errors.

    Returns:
        The day, clipped to the years 1700 to 2200; None for an open end.

    Raises:
        InputError: ``end`` has another type or format.
    """
    if end is None:
        return None
    text = f"{end:%Y-%m-%d}" if isinstance(end, date) and _is_day(end) else str(end).strip()
    if re.fullmatch(r"\d{8}", text):
        text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
    found = ISO.fullmatch(text)
    try:
        if not found or isinstance(end, float | bool):
            raise ValueError
        year, month, day = (int(part) if part else None for part in found.groups())
        first_month, last_month = month or 1, month or 12
        first = date(year or 0, first_month, day or 1)
        last = date(first.year, last_month, day or monthrange(first.year, last_month)[1])
    except ValueError as error:
        raise InputError(
            f"{key}: {end!r} is not a date: expected YYYY-MM-DD, YYYY-MM or YYYY"
        ) from error
    return pd.Timestamp(min(max(first if side == "left" else last, FIRST), LAST)).as_unit("ns")


def _is_day(value: date) -> bool:
    return not isinstance(value, datetime) or (value.time() == time() and value.tzinfo is None)
