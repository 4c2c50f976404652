"""Dates as text: one format for all values of a column, found or given, never one per value."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo

ORDERS = ("%Y-%m-%d", "%d-%m-%Y", "%m-%d-%Y", "%d-%m-%y", "%m-%d-%y", "%y-%m-%d")
NUMERIC = [order.replace("-", mark) for mark in "-/. " for order in ORDERS]
NAMED = [
    order.replace("%b", month)
    for month in ("%b", "%B")
    for order in (
        *("%d %b %Y", "%d-%b-%Y", "%d/%b/%Y", "%d.%b.%Y", "%d%b%Y", "%d %b, %Y"),
        *("%b %d, %Y", "%b %d %Y", "%b-%d-%Y", "%Y-%b-%d", "%Y %b %d", "%Y%b%d"),
        *("%d %b %y", "%d-%b-%y", "%d/%b/%y", "%d%b%y", "%b %d, %y"),
    )
]
COMPACT = "%Y%m%d"
FORMATS = (*NUMERIC, COMPACT, *NAMED, "%Y年%m月%d日")

WEEKDAY = re.compile(r"(mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+", re.IGNORECASE)
INTEGRAL = re.compile(r"(\d{8})\.0+")  # 20150102, stored as a float
TIME = re.compile(
    r"""(?P<day>.*?\S)(?:(?<=\d)T|\s+|:)
    (?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,]\d+)?)?\s*
    (?P<half>[ap]\.?m\.?)?\s*
    (?P<zone>Z|(?:UTC|GMT)?(?P<offset>[+-]\d\d:?(?:\d\d)?)|UTC|GMT)?
    (?:\s*[\[(].*[\])])?""",
    re.IGNORECASE | re.VERBOSE,
)
CLOCK = re.compile(r"%[HIpMSfzZTXc]")  # directives of a time of day


class WrongDateError(Exception):
    """One of several values is no date, or several dates.

    Attributes:
        index: Which of the values.
        example: A format that would decide it, as far as one would.
    """

    def __init__(self, index: int, fault: str, example: str = "") -> None:
        super().__init__(fault)
        self.index = index
        self.example = example


def parse_texts(texts: Sequence[str], date_format: str | None) -> list[datetime]:
    """Read days, with or without a time and an offset from UTC.

    Args:
        texts: Different ones.
        date_format: As of `datetime.strptime`; without a directive of the time, that of the day
            alone. None: the only one of `FORMATS` that reads every value.

    Returns:
        Moments, with a zone where the text has one.

    Raises:
        WrongDateError: A text does not fit the format, no format fits every text, or several do
            and read other days.
    """
    texts = [_plain(text) for text in texts]
    if date_format and CLOCK.search(date_format):
        return _read_all(texts, (date_format,))
    parts = [_split(text) for text in texts]
    first: dict[str, int] = {}
    for index, (day, _) in enumerate(parts):
        first.setdefault(day, index)
    try:
        days = _read_all([*first], (date_format,) if date_format else FORMATS)
    except WrongDateError as error:
        index = [*first.values()][error.index]
        raise WrongDateError(index, str(error), error.example) from None
    day_of = dict(zip(first, days, strict=True))
    return [datetime.combine(day_of[day], clock) for day, clock in parts]


def _plain(text: str) -> str:
    text = WEEKDAY.sub("", text.strip(), count=1)
    integral = INTEGRAL.fullmatch(text)
    return integral[1] if integral else text


def _split(text: str) -> tuple[str, time]:
    """Text of the day, and the time."""
    found = TIME.fullmatch(text)
    if not found:
        return text, time()
    hour, minute, second = (int(found[name] or 0) for name in ("hour", "minute", "second"))
    if found["half"]:
        if not 1 <= hour <= 12:
            return text, time()
        hour = hour % 12 + 12 * (found["half"][0] in "pP")
    try:
        return found["day"], time(hour, minute, second, tzinfo=_zone(found))
    except ValueError:  # 25:00, which then is no part of a date
        return text, time()


def _zone(found: re.Match[str]) -> tzinfo | None:
    if not found["offset"]:
        return UTC if found["zone"] else None
    sign, digits = found["offset"][0], found["offset"][1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if sign == "-" else offset)


def _read_all(texts: Sequence[str], formats: Sequence[str]) -> list[datetime]:
    """Read every text by the only format that reads all of them."""
    readings: dict[str, list[datetime]] = {}
    for form in formats:
        days = []
        for text in texts:
            day = _read(text, form)
            if day is None:
                break
            days.append(day)
        else:
            readings[form] = days
    if not readings:
        raise _misfit(texts, formats)
    (form, found), *others = readings.items()
    for other, days in others:
        for index, (one, two) in enumerate(zip(found, days, strict=True)):
            if one != two:
                raise WrongDateError(
                    index,
                    f"{texts[index]!r} is {one:%Y-%m-%d} by {form} and {two:%Y-%m-%d} by {other}, "
                    "and every other value is a date by both",
                    form,
                )
    return found


def _read(text: str, form: str) -> datetime | None:
    if form == COMPACT and len(text) != 8:  # strptime takes 2015123 for the third of December
        return None
    try:
        return datetime.strptime(text, form)
    except (ValueError, re.error):  # the latter of a directive that stands twice
        return None


def _misfit(texts: Sequence[str], formats: Sequence[str]) -> WrongDateError:
    """Name the first text that the most fitting format does not read."""
    fits = {form: [_read(text, form) is not None for text in texts] for form in formats}
    best = max(formats, key=lambda form: sum(fits[form]))
    index, n_fit = fits[best].index(False), sum(fits[best])
    fault = f"{texts[index]!r} is not a date"
    if n_fit or len(formats) == 1:
        fault += f" by {best}"
    if n_fit:
        fault += f", by which {n_fit} of {len(texts)} different dates are written"
    hint = _hint(texts[index])
    unknown = not (n_fit or hint) and len(formats) > 1
    return WrongDateError(index, fault + hint, "FORMAT" if unknown else "")


def _hint(text: str) -> str:
    """What a number may be."""
    number = text.partition(".")[0]
    if not number.isdecimal():
        return ""
    if len(number) == 5:
        return " (a day number of Excel? pd.to_datetime(column, unit='D', origin='1899-12-30'))"
    unit = {10: "s", 13: "ms", 16: "us", 19: "ns"}.get(len(number))
    return f" (a time since 1970? pd.to_datetime(column, unit={unit!r}))" if unit else ""
