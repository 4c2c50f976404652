"""Splits the calendar into training, validation and test days, so that no label crosses a split."""

import logging
from collections.abc import Mapping, Sequence
from typing import Annotated

import pandas as pd
from torch import Tensor

from alphazoo.data.labels import Label
from alphazoo.errors import InputError
from alphazoo.market.market import Market
from alphazoo.market.periods import parse_bound

log = logging.getLogger(__name__)

# both ends are dates, months or years, or None for an open end
Segment = Annotated[Sequence[object], "[from, to]"]


def split_days(
    dates: pd.DatetimeIndex, segments: Mapping[str, Segment], *, purge: int, embargo: int
) -> dict[str, range]:
    """Return the days of each segment whose labels lie entirely inside the segment.

    Args:
        dates: [D], the calendar.
        segments: ``[from, to]`` by name, both ends included, in chronological order.
        purge: Number of days that a label reaches ahead; this many days are omitted at the end of
            every segment.
        embargo: Number of further days omitted at the end of every segment but the last.

    Returns:
        Rows of the calendar by name.

    Raises:
        InputError: A segment is not a pair of dates, is reversed, does not come after the one
            before, or has no trading day, at all or after purge and embargo.
    """
    rows: dict[str, range] = {}
    before = ""
    *_, last = segments
    for name, segment in segments.items():
        found = find_rows(dates, name, segment)
        if before and found.start < rows[before].stop:
            raise InputError(
                f"data.{name}={_text(segment)} does not come after "
                f"data.{before}={_text(segments[before])}"
            )
        rows[name], before = found, name
    for name, found in rows.items():
        n_omitted = purge + (embargo if name != last else 0)
        rows[name] = found[: max(0, len(found) - n_omitted)]
        if not rows[name]:
            raise InputError(
                f"data.{name}={_text(segments[name])} has only {len(found)} trading days, of which "
                f"the last {n_omitted} are omitted, because their labels reach beyond it or they "
                "are in the embargo"
            )
    return rows


def find_rows(dates: pd.DatetimeIndex, name: str, segment: Segment) -> range:
    """Return the rows of the calendar in a segment.

    Raises:
        InputError: It is not a pair of dates, is reversed, or has no trading day.
    """
    first, last = read_segment(name, segment)
    start = 0 if first is None else int(dates.searchsorted(first, side="left"))
    stop = len(dates) if last is None else int(dates.searchsorted(last, side="right"))
    if start >= stop:
        raise InputError(
            f"data.{name}={_text(segment)} has no trading day: the calendar runs from "
            f"{dates[0]:%Y-%m-%d} to {dates[-1]:%Y-%m-%d}"
        )
    return range(start, stop)


def log_late_start(dates: pd.DatetimeIndex, segments: Mapping[str, Segment]) -> None:
    """Say which segment starts more than a week later than it should, because the data do."""
    for name, segment in segments.items():
        first, _ = read_segment(name, segment)
        if first is not None and (dates[0] - first).days > 7:
            log.info("data.%s starts with the data, on %s", name, f"{dates[0]:%Y-%m-%d}")


def read_segment(name: str, segment: Segment) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    """Return the first and last day of a segment; None for an open end.

    Raises:
        InputError: The segment is not a pair of dates, or is reversed.
    """
    if not isinstance(segment, list | tuple) or len(segment) != 2:
        raise InputError(f"data.{name} must be [from, to], got {segment!r}")
    ends = zip(segment, ("left", "right"), strict=True)
    first, last = (parse_bound(end, side, f"data.{name}") for end, side in ends)
    if first is not None and last is not None and first > last:
        raise InputError(f"data.{name}={_text(segment)} ends before it starts")
    return first, last


def find_usable_days(
    segments: Mapping[str, range], market: Market, label: Label, labels: Tensor, min_stocks: int
) -> dict[str, list[int]]:
    """Return the days of each segment that have enough stocks and a label.

    Args:
        segments: Rows of the calendar by name of the segment.
        market: Gives prices and members.
        label: Names the days of the return in errors.
        labels: [D, S], NaN where missing.
        min_stocks: Days with fewer stocks are omitted.

    Raises:
        InputError: A segment has no such day.
    """
    counts, labelled = market.present.sum(dim=1), labels.isfinite().any(dim=1)
    found = {}
    for name, days in segments.items():
        first, last = (f"{market.dates[day]:%Y-%m-%d}" for day in (days[0], days[-1]))
        large = [day for day in days if counts[day] >= min_stocks]
        if not large:
            raise InputError(
                f"data.{name}: no day from {first} to {last} has {min_stocks} members of "
                f"market {market.name!r} with a price"
            )
        found[name] = [day for day in large if labelled[day]]
        if not found[name]:
            raise InputError(
                f"data.{name}: no day from {first} to {last} has a label; the return from day "
                f"t+{label.buy} to day t+{label.sell} is missing for every member"
            )
        log.info(
            "%s: %d days from %s to %s; omitted: %d with fewer than %d stocks, %d without labels",
            *(name, len(found[name]), first, last, len(days) - len(large), min_stocks),
            len(large) - len(found[name]),
        )
    return found


def _text(segment: Segment) -> str:
    return f"[{', '.join('null' if end is None else str(end) for end in segment)}]"
