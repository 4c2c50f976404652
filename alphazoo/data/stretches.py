"""Stretches: the segments of a walk forward, one set for every training of it."""

from collections.abc import Mapping
from itertools import count, pairwise, takewhile

import pandas as pd

from alphazoo.data.segments import Segment, bound
from alphazoo.errors import InputError

DAY = pd.Timedelta(days=1)


def stretches(
    dates: pd.DatetimeIndex,
    segments: Mapping[str, Segment],
    *,
    months: int,
    rolling: bool,
    shortest: int,
) -> list[dict[str, list[str]]]:
    """Cut the test segment, and give each stretch the train and valid days before it.

    Args:
        dates: [D], the calendar.
        segments: ``[from, to]`` of ``train``, ``valid`` and ``test``: those of the first stretch.
        months: Length of a stretch; train and valid end so much later for every next one.
        rolling: Whether train begins later, too.
        shortest: A last stretch with fewer days belongs to the one before.

    Returns:
        ``[from, to]`` of each segment by name, for each stretch.

    Raises:
        InputError: The length is below 1, or an end between the segments is open.
    """
    if months < 1:
        raise InputError(f"walk_forward.months is 1 or more, got {months}")
    known = _ends(dates, segments)

    def later(day: pd.Timestamp, count: int) -> pd.Timestamp:
        return day + pd.DateOffset(months=months * count)

    first, last = known["test"]
    stop = min(last, dates[-1]) + DAY
    starts = [*takewhile(lambda day: day < stop, (later(first, n) for n in count()))]
    if len(starts) > 1 and ((dates >= starts[-1]) & (dates < stop)).sum() < shortest:
        starts.pop()
    found = []
    for index, (start, after) in enumerate(pairwise([*starts, stop])):
        moved = {
            name: [later(known[name][0], index), later(known[name][1] + DAY, index) - DAY]
            for name in ("train", "valid")
        }
        if not rolling:
            moved["train"][0] = known["train"][0]
        moved["test"] = [start, after - DAY]
        found.append({name: [f"{day:%Y-%m-%d}" for day in pair] for name, pair in moved.items()})
    return found


def _ends(
    dates: pd.DatetimeIndex, segments: Mapping[str, Segment]
) -> dict[str, list[pd.Timestamp]]:
    """First and last day of each segment; outer ends that are open are those of the calendar."""
    ends = {
        name: [
            bound(end, side, f"data.{name}")
            for end, side in zip(pair, ("left", "right"), strict=True)
        ]
        for name, pair in segments.items()
    }
    ends["train"][0] = ends["train"][0] or dates[0]
    ends["test"][1] = ends["test"][1] or dates[-1]
    for name, pair in ends.items():
        if None in pair:
            raise InputError(f"walk_forward needs both ends of data.{name}, one of them is null")
    return {name: [day.normalize() for day in pair if day] for name, pair in ends.items()}
