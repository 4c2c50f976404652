"""Segments: train, valid and test days, in this order, with a gap that no label bridges."""

import logging
import re
from calendar import monthrange
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Annotated

import pandas as pd

from alphazoo.errors import InputError

log = logging.getLogger(__name__)

FIRST, LAST = date(1700, 1, 1), date(2200, 1, 1)  # of an open period; pandas reaches 1678 to 2261
ISO = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?")

# dates, months, years, or None for an open end
Segment = Annotated[Sequence[object], "[from, to]"]


def split_days(
    dates: pd.DatetimeIndex, segments: Mapping[str, Segment], *, purge: int, embargo: int
) -> dict[str, range]:
    """Give each segment the days whose label lies wholly inside it.

    Args:
        dates: [D], the calendar.
        segments: ``[from, to]`` by name, both ends included, in temporal order.
        purge: Days that a label looks ahead: so many are left out at the end of every segment.
        embargo: Further days left out at the end of every segment but the last.

    Returns:
        Rows of the calendar by name.

    Raises:
        InputError: A segment is not a pair of dates, is reversed, overlaps the one before, has no
            trading day or none that is left.
    """
    rows: dict[str, range] = {}
    before = ""
    *_, last = segments
    for name, segment in segments.items():
        found = _find_rows(dates, name, segment)
        if before and found.start < rows[before].stop:
            raise InputError(
                f"data.{name}={_text(segment)} does not come after "
                f"data.{before}={_text(segments[before])}"
            )
        rows[name], before = found, name
    for name, found in rows.items():
        left_out = purge + (embargo if name != last else 0)
        rows[name] = found[: max(0, len(found) - left_out)]
        if not rows[name]:
            raise InputError(
                f"data.{name}={_text(segments[name])} has {len(found)} trading days, none of which "
                f"has its label inside: the last {left_out} are left out"
            )
    return rows


def _find_rows(dates: pd.DatetimeIndex, name: str, segment: Segment) -> range:
    first, last = read_segment(name, segment)
    start = 0 if first is None else int(dates.searchsorted(first, side="left"))
    stop = len(dates) if last is None else int(dates.searchsorted(last, side="right"))
    if start >= stop:
        raise InputError(
            f"data.{name}={_text(segment)} has no trading day: the calendar runs from "
            f"{dates[0]:%Y-%m-%d} to {dates[-1]:%Y-%m-%d}"
        )
    if first is not None and start == 0 and (dates[0] - first).days > 7:
        log.info("data.%s starts with the data, on %s", name, f"{dates[0]:%Y-%m-%d}")
    return range(start, stop)


def read_segment(name: str, segment: Segment) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    """First and last day of a segment; None for an open end.

    Raises:
        InputError: It is not a pair of dates, or is reversed.
    """
    if not isinstance(segment, list | tuple) or len(segment) != 2:
        raise InputError(f"data.{name} is [from, to], got {segment!r}")
    ends = zip(segment, ("left", "right"), strict=True)
    first, last = (bound(end, side, f"data.{name}") for end, side in ends)
    if first is not None and last is not None and first > last:
        raise InputError(f"data.{name}={_text(segment)} ends before it starts")
    return first, last


def bound(end: object, side: str, key: str) -> pd.Timestamp | None:
    """First or last day of a date, month (``"2015-03"``) or year (2015) of a setting.

    Args:
        end: ISO text ``YYYY-MM-DD``, ``YYYY-MM``, ``YYYY`` or ``YYYYMMDD``, an integer of the last
            two, or a date; None for an open end. Before 1700 and after 2200 it is that year.
        side: ``"left"`` for the first day, ``"right"`` for the last.
        key: The setting, for errors.

    Returns:
        The day, None for an open end.

    Raises:
        InputError: It is none of these.
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


def _text(segment: Segment) -> str:
    return f"[{', '.join('null' if end is None else str(end) for end in segment)}]"
