"""Segments: train, valid and test days, in this order, with a gap that no label bridges."""

import logging
from collections.abc import Mapping, Sequence
from typing import Annotated

import pandas as pd

from alphazoo.errors import InputError
from alphazoo.market.periods import parse_bound

log = logging.getLogger(__name__)

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
    first, last = (parse_bound(end, side, f"data.{name}") for end, side in ends)
    if first is not None and last is not None and first > last:
        raise InputError(f"data.{name}={_text(segment)} ends before it starts")
    return first, last


def _text(segment: Segment) -> str:
    return f"[{', '.join('null' if end is None else str(end) for end in segment)}]"
