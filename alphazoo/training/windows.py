"""Computes the windows of a walk forward: the segments of each of its training runs."""

from collections.abc import Mapping
from itertools import count, pairwise, takewhile

import pandas as pd

from alphazoo.data.segments import Segment, find_rows
from alphazoo.errors import InputError
from alphazoo.market.periods import parse_bound

DAY = pd.Timedelta(days=1)


def split_windows(
    dates: pd.DatetimeIndex,
    segments: Mapping[str, Segment],
    *,
    months: int,
    rolling: bool,
    shortest: int,
) -> list[dict[str, list[str]]]:
    """Split the test segment into windows, each with the training and validation days before it.

    Args:
        dates: [D], the calendar.
        segments: ``[from, to]`` of ``train`` and ``valid`` for the first window, and of ``test``
            for all windows together.
        months: Length of a window; also how far ``train`` and ``valid`` shift from one window to
            the next.
        rolling: Whether the start of ``train`` shifts, too; otherwise ``train`` grows.
        shortest: If the last window has fewer days, it is merged with the one before.

    Returns:
        For each window, ``[from, to]`` of each segment by name.

    Raises:
        InputError: ``months`` is below 1, an inner end of a segment is null, or the test segment
            has no trading day.
    """
    if months < 1:
        raise InputError(f"walk_forward.months must be at least 1, got {months}")
    original = _ends(dates, segments)
    find_rows(dates, "test", segments["test"])

    def later(day: pd.Timestamp, count: int) -> pd.Timestamp:
        return day + pd.DateOffset(months=months * count)

    first, last = original["test"]
    stop = min(last, dates[-1]) + DAY
    starts = [*takewhile(lambda day: day < stop, (later(first, n) for n in count()))]
    if len(starts) > 1 and ((dates >= starts[-1]) & (dates < stop)).sum() < shortest:
        starts.pop()
    windows = []
    for index, (start, after) in enumerate(pairwise([*starts, stop])):
        ends = {
            name: [later(original[name][0], index), later(original[name][1] + DAY, index) - DAY]
            for name in ("train", "valid")
        }
        if not rolling:
            ends["train"][0] = original["train"][0]
        ends["test"] = [start, after - DAY]
        windows.append({name: [f"{day:%Y-%m-%d}" for day in pair] for name, pair in ends.items()})
    return windows


def _ends(
    dates: pd.DatetimeIndex, segments: Mapping[str, Segment]
) -> dict[str, list[pd.Timestamp]]:
    """Return the first and last day of each segment.

    A null start of ``train`` or end of ``test`` is replaced by the end of the calendar.
    """
    ends = {
        name: [
            parse_bound(end, side, f"data.{name}")
            for end, side in zip(pair, ("left", "right"), strict=True)
        ]
        for name, pair in segments.items()
    }
    ends["train"][0] = ends["train"][0] or dates[0]
    ends["test"][1] = ends["test"][1] or dates[-1]
    for name, pair in ends.items():
        if None in pair:
            raise InputError(f"walk_forward needs both ends of data.{name}, but one is null")
    return {name: [day.normalize() for day in pair if day] for name, pair in ends.items()}
