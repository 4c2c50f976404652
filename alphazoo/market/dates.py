"""Parses a column of dates or timestamps into days, using one format and one time zone."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd
from annotated_types import Predicate

from alphazoo.errors import InputError
from alphazoo.market.csv_rows import MISSING
from alphazoo.market.date_formats import WrongDateError, parse_texts
from alphazoo.market.periods import FIRST, LAST

if TYPE_CHECKING:
    from alphazoo.market.tables import Rows, Table

log = logging.getLogger(__name__)

MIDNIGHT = time()
MONDAY, FRIDAY, SATURDAY, SUNDAY = 0, 4, 5, 6


@dataclass(frozen=True)
class DateRules:
    """How the dates of a table are parsed.

    Attributes:
        date_format: A format for `datetime.strptime`; None detects it, see
            `alphazoo.market.date_formats`.
        timezone: Time zone of the exchange, such as ``Asia/Shanghai``. Timestamps in UTC or another
            zone are converted to it, unless all are at midnight, which are plain dates. None takes
            the day of each timestamp as it is written.
        setting: How a user sets one of these, as a template with ``{}`` for its name and value.
    """

    date_format: str | None = None
    timezone: str | None = None
    setting: str = ""

    def advise(self, name: str, value: str) -> str:
        """Return the tail of an error that a setting resolves.

        Args:
            name: The setting, ``date_format`` or ``timezone``.
            value: An example of its value.
        """
        if not self.setting:
            return "write dates as YYYY-MM-DD"
        return f"set {self.setting.format(name, value)}, or write dates as YYYY-MM-DD"


def parse_dates(
    table: "Table", name: str, rules: DateRules, *, ends: bool = False
) -> tuple[pd.DatetimeIndex, "Rows"]:
    """Return the sorted days of a column of dates, and the index of each row's day, [R].

    The column holds dates or timestamps of any type, text in one format, or numbers such as
    20150102. The day of a timestamp with a time zone is the day in that zone.

    Args:
        table: The table.
        name: Internal name of the column.
        rules: How to parse the dates.
        ends: Whether the dates are ends of periods. Such a date may be missing, with index -1, and
            is clipped to the years 1700 to 2200.

    Raises:
        InputError: A value is not a date, the format or time zone is ambiguous, or, unless the
            dates are ends of periods, a date is missing or outside the range of pandas.
    """
    values, codes = table.distinct(name)
    kept = [index for index, value in enumerate(values) if not _is_missing(value)]
    position = np.full(len(values) + 1, -1)  # the last entry is for code -1, a missing value
    position[kept] = np.arange(len(kept))
    codes, values = position[codes], [values[index] for index in kept]
    if not ends and (codes < 0).any():
        raise InputError(f"{table.place(name, int(np.argmax(codes < 0)))}: the date is missing")
    try:
        timestamps = _timestamps(values, rules.date_format)
        days = _local_days(timestamps, rules, ends=ends)
        if ends:
            days = [min(max(day, FIRST), LAST) for day in days]
        for index, day in enumerate(days):
            if not 1678 <= day.year <= 2261:
                raise WrongDateError(index, f"{day} is outside the years 1678 to 2261")
    except WrongDateError as error:
        row = int(np.argmax(codes == error.index))  # the first row with this value
        advice = f": {rules.advise('date_format', error.example)}" if error.example else ""
        raise InputError(f"{table.place(name, row)}: {error}{advice}") from None
    except _AmbiguousZoneError as error:
        advice = rules.advise("timezone", "Asia/Shanghai")
        raise InputError(f"{table.title(name)}: {error}: {advice}") from None
    stamps = np.array(days, dtype="datetime64[D]")
    unique, of_value = np.unique(stamps, return_inverse=True)
    return pd.DatetimeIndex(unique.astype("datetime64[ns]")), np.append(of_value, -1)[codes]


class _AmbiguousZoneError(Exception):
    """The local days of timestamps cannot be determined."""


def _is_missing(value: object) -> bool:
    return isinstance(value, str) and value.strip() in MISSING


def _kind(value: object) -> str:
    if isinstance(value, date | np.datetime64 | pd.Period):
        return "a date"
    if isinstance(value, str | bytes):
        return "text"
    if isinstance(value, int | float | Decimal | np.number) and not isinstance(value, bool):
        return "a number"
    return f"of type {type(value).__name__}"


def _timestamps(values: Sequence[Any], date_format: str | None) -> list[datetime]:
    """Parse values of one kind, in one format."""
    kinds = [_kind(value) for value in values]
    for index, kind in enumerate(kinds):
        if kind != kinds[0]:
            raise WrongDateError(
                index, f"{values[index]!r} is {kind}, but the first value is {kinds[0]}"
            )
        if kind.startswith("of type"):
            raise WrongDateError(index, f"{values[index]!r} is {kind}, expected a date")
    if not kinds:
        return []
    if kinds[0] == "text":
        texts = [value if isinstance(value, str) else value.decode("latin-1") for value in values]
        return parse_texts(texts, date_format)
    if kinds[0] == "a number":
        digits = [str(int(value) if value == value // 1 else value) for value in values]
        return parse_texts(digits, date_format or "%Y%m%d")
    return [_timestamp(index, value) for index, value in enumerate(values)]


def _timestamp(index: int, value: Any) -> datetime:
    if isinstance(value, pd.Period):
        if value.start_time.date() != value.end_time.date():
            raise WrongDateError(index, f"{value} is a period of several days, expected a day")
        value = value.start_time
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if isinstance(value, pd.Timestamp):
        try:
            return value.to_pydatetime(warn=False)
        except ValueError as error:
            raise WrongDateError(index, f"{error}, not within 1678 to 2261") from None
    return value if isinstance(value, datetime) else datetime.combine(value, MIDNIGHT)


def _local_days(stamps: Sequence[datetime], rules: DateRules, *, ends: bool) -> list[date]:
    """Return the day of each timestamp in the time zone of the exchange."""
    zoned = [stamp.tzinfo is not None for stamp in stamps]
    for index, has_zone in enumerate(zoned):
        if has_zone != zoned[0]:
            found, first = ("a", "no") if has_zone else ("no", "a")
            raise WrongDateError(
                index, f"the time has {found} time zone, but the first value has {first} time zone"
            )
    if all(stamp.time() == MIDNIGHT for stamp in stamps):
        return [stamp.date() for stamp in stamps]  # plain dates, whatever their zone
    utc = zoned[0] and not any(stamp.utcoffset() for stamp in stamps)
    if rules.timezone:
        zone = find_zone(rules.timezone)
        stamps = [
            (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).astimezone(zone)
            for stamp in stamps
        ]
        utc = False
    days = [stamp.date() for stamp in stamps]
    if ends and utc:
        raise _AmbiguousZoneError(f"{stamps[0]} is in UTC, and its local day is unknown")
    if not ends:
        _check_weekdays(days, stamps, utc=utc, converted=bool(rules.timezone))
    return days


def _check_weekdays(
    days: Sequence[date], stamps: Sequence[datetime], *, utc: bool, converted: bool
) -> None:
    """Reject timestamps whose days are one day before or after the trading days.

    In UTC, a week of trading from Monday to Friday becomes Sunday to Thursday if timestamps are
    local midnights east of Greenwich, and Tuesday to Saturday if they are evenings west of it.
    Timestamps in UTC are accepted only if their weekdays rule out both.
    """
    # midnights are ignored: in winter, midnight in London is also midnight in UTC
    timed = {day for day, stamp in zip(days, stamps, strict=True) if stamp.time() != MIDNIGHT}
    count = Counter(day.weekday() for day in timed)
    early = count[SUNDAY] >= 2 * count[FRIDAY] and (utc or count[SUNDAY] > 0)
    late = count[SATURDAY] >= 2 * count[MONDAY] and (utc or count[SATURDAY] > 0)
    if converted and early and not late:  # Tel Aviv and Riyadh trade from Sunday to Thursday
        log.warning(
            "%d days are Sundays, %d are Fridays: is the time zone correct?",
            count[SUNDAY],
            count[FRIDAY],
        )
    elif early or late:
        example = next(stamp for stamp in stamps if stamp.time() != MIDNIGHT)
        raise _AmbiguousZoneError(
            f"timestamps such as {example} may be in another time zone: {count[SUNDAY]} days are "
            f"Sundays, {count[FRIDAY]} Fridays, {count[SATURDAY]} Saturdays"
        )


def find_zone(name: str) -> ZoneInfo:
    """Return the time zone with a name such as ``Asia/Shanghai``.

    Raises:
        InputError: No time zone has this name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(
            f"timezone={name} is not a time zone: expected a name such as Asia/Shanghai"
        ) from error


def _is_zone(name: str) -> bool:
    try:
        find_zone(name)
    except InputError:
        return False
    return True


def _is_format(text: str) -> bool:
    """Whether a format has the year, the month and the day."""
    day = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
    try:
        return datetime.strptime(day.strftime(text), text).date() == day.date()
    except ValueError:
        return False


TimeZone = Annotated[str, Predicate(_is_zone), "a time zone such as Asia/Shanghai"]
DateFormat = Annotated[str, Predicate(_is_format), "a format of strptime such as %d/%m/%Y"]
