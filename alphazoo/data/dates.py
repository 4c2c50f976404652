"""The days of a column of dates, in one format and one time zone."""

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

from alphazoo.data.csv_rows import MISSING
from alphazoo.data.date_formats import WrongDateError, parse_texts
from alphazoo.data.segments import FIRST, LAST
from alphazoo.errors import InputError

if TYPE_CHECKING:
    from alphazoo.data.tables import Rows, Table

log = logging.getLogger(__name__)

MIDNIGHT = time()
MONDAY, FRIDAY, SATURDAY, SUNDAY = 0, 4, 5, 6


@dataclass(frozen=True)
class DateRules:
    """How the dates of a table are read.

    Attributes:
        date_format: As of `datetime.strptime`; None: found, see `alphazoo.data.date_formats`.
        timezone: Where the stocks trade, such as ``Asia/Shanghai``: timestamps in UTC, or in
            another zone, are converted to it, unless all of them are midnights, which are dates.
            None: a day is what the timestamp says.
        setting: How a user gives one of them: text with ``{}`` for its name, then its value.
    """

    date_format: str | None = None
    timezone: str | None = None
    setting: str = ""

    def advise(self, name: str, value: str) -> str:
        """The tail of an error that a setting helps against."""
        if not self.setting:
            return "write dates as YYYY-MM-DD"
        return f"set {self.setting.format(name, value)}, or write dates as YYYY-MM-DD"


def parse_dates(
    table: "Table", name: str, rules: DateRules, *, ends: bool = False
) -> tuple[pd.DatetimeIndex, "Rows"]:
    """The days of a column of dates, sorted, and which of them each row has: [R].

    Dates are dates or timestamps of any type, text of one format, or numbers like 20150102. Of a
    timestamp with a zone the day is that of the zone.

    Args:
        table: Has the column.
        name: Ours, of the column.
        rules: How to read it.
        ends: Whether they are ends of periods: one may be missing, which is -1, and one before
            1700 or after 2200 is that day.

    Raises:
        InputError: A value is no date, the format or the zone is not certain, or, unless they are
            ends of periods, a date is missing, or out of the range of pandas.
    """
    values, codes = table.distinct(name)
    kept = [index for index, value in enumerate(values) if not _is_missing(value)]
    place = np.full(len(values) + 1, -1)  # the last is that of a missing value
    place[kept] = np.arange(len(kept))
    codes, values = place[codes], [values[index] for index in kept]
    if not ends and (codes < 0).any():
        raise InputError(f"{table.place(name, int(np.argmax(codes < 0)))}: no date")
    try:
        moments = _moments(values, rules.date_format)
        days = _local_days(moments, rules, ends=ends)
        if ends:
            days = [min(max(day, FIRST), LAST) for day in days]
        for index, day in enumerate(days):
            if not 1678 <= day.year <= 2261:
                raise WrongDateError(index, f"{day} is out of the range from 1678 to 2261")
    except WrongDateError as error:
        # distinct values are in the order of their first rows
        row = int(np.argmax(codes == error.index))
        help_ = f": {rules.advise('date_format', error.example)}" if error.example else ""
        raise InputError(f"{table.place(name, row)}: {error}{help_}") from None
    except _WrongZoneError as error:
        help_ = rules.advise("timezone", "Asia/Shanghai")
        raise InputError(f"{table.title(name)}: {error}: {help_}") from None
    stamps = np.array(days, dtype="datetime64[D]")
    unique, of_value = np.unique(stamps, return_inverse=True)
    return pd.DatetimeIndex(unique.astype("datetime64[ns]")), np.append(of_value, -1)[codes]


class _WrongZoneError(Exception):
    """The days of timestamps are not certain."""


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


def _moments(values: Sequence[Any], date_format: str | None) -> list[datetime]:
    """Dates and times, of one kind of values and in one format."""
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
    return [_moment(index, value) for index, value in enumerate(values)]


def _moment(index: int, value: Any) -> datetime:
    if isinstance(value, pd.Period):
        if value.start_time.date() != value.end_time.date():
            raise WrongDateError(index, f"{value} is a period of several days, expected a day")
        value = value.start_time
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime(warn=False)
    return value if isinstance(value, datetime) else datetime.combine(value, MIDNIGHT)


def _local_days(moments: Sequence[datetime], rules: DateRules, *, ends: bool) -> list[date]:
    """The day of each moment where the stocks trade."""
    zoned = [moment.tzinfo is not None for moment in moments]
    for index, has_zone in enumerate(zoned):
        if has_zone != zoned[0]:
            found, first = ("a", "no") if has_zone else ("no", "a")
            raise WrongDateError(
                index, f"a time with {found} zone, the first value has {first} zone"
            )
    if all(moment.time() == MIDNIGHT for moment in moments):
        return [moment.date() for moment in moments]  # dates, whatever their zone
    utc = zoned[0] and not any(moment.utcoffset() for moment in moments)
    if rules.timezone:
        zone = find_zone(rules.timezone)
        moments = [
            (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(zone)
            for moment in moments
        ]
        utc = False
    days = [moment.date() for moment in moments]
    if ends and utc:
        raise _WrongZoneError(f"{moments[0]} is in UTC, and its local day is not certain")
    if not ends:
        _check_weekdays(days, moments, utc=utc, converted=bool(rules.timezone))
    return days


def _check_weekdays(
    days: Sequence[date], moments: Sequence[datetime], *, utc: bool, converted: bool
) -> None:
    """Refuse timestamps whose days are those before or after the days of trading.

    A week that is traded from Monday to Friday is one from Sunday to Thursday in UTC where the
    timestamps are midnights east of Greenwich, and one from Tuesday to Saturday where they are
    evenings west of it. Timestamps in UTC must show that they are neither.
    """
    # of London those of the winter are midnights in UTC, too
    timed = {day for day, moment in zip(days, moments, strict=True) if moment.time() != MIDNIGHT}
    count = Counter(day.weekday() for day in timed)
    early = count[SUNDAY] >= 2 * count[FRIDAY] and (utc or count[SUNDAY] > 0)
    late = count[SATURDAY] >= 2 * count[MONDAY] and (utc or count[SATURDAY] > 0)
    if converted and early and not late:  # so trade Tel Aviv and Riyadh
        log.warning(
            "%d days are Sundays, %d Fridays: is the time zone right?", count[SUNDAY], count[FRIDAY]
        )
    elif early or late:
        example = next(moment for moment in moments if moment.time() != MIDNIGHT)
        raise _WrongZoneError(
            f"timestamps such as {example} may be of another time zone: {count[SUNDAY]} days are "
            f"Sundays, {count[FRIDAY]} Fridays, {count[SATURDAY]} Saturdays"
        )


def find_zone(name: str) -> ZoneInfo:
    """The time zone of a name such as ``Asia/Shanghai``.

    Raises:
        InputError: There is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(
            f"timezone={name} is no time zone: expected a name such as Asia/Shanghai"
        ) from error


def _is_zone(name: str) -> bool:
    try:
        find_zone(name)
    except InputError:
        return False
    return True


def _is_format(text: str) -> bool:
    """Whether a format says the year, the month and the day."""
    day = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
    try:
        return datetime.strptime(day.strftime(text), text).date() == day.date()
    except ValueError:
        return False


TimeZone = Annotated[str, Predicate(_is_zone), "a time zone such as Asia/Shanghai"]
DateFormat = Annotated[str, Predicate(_is_format), "a format of strptime such as %d/%m/%Y"]
