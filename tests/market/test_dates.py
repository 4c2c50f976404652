"""Dates: one format and one zone per column, and ISO alone in settings."""

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import small_frame, write_qlib

from alphazoo.data.scores import read_scores
from alphazoo.data.segments import split_days
from alphazoo.errors import InputError
from alphazoo.market.concept_table import read_concepts
from alphazoo.market.dates import DateRules, parse_dates
from alphazoo.market.market import Market
from alphazoo.market.periods import parse_bound
from alphazoo.market.tables import read_columns

DAYS = pd.bdate_range("2015-01-01", "2015-12-31").as_unit("ns")
TABLE = DateRules(setting="data.{}={}")


def read(
    values: Any, date_format: str | None = None, timezone: str | None = None
) -> pd.DatetimeIndex:
    """The day of each value of a column, which may stand in several rows."""
    table = read_columns(pd.DataFrame({"day": values}), {"date": "day"}, key="data.columns")
    dates, rows = parse_dates(table, "date", DateRules(date_format, timezone, TABLE.setting))
    assert dates.is_monotonic_increasing
    return dates[rows]


def text(form: str) -> pd.Series:
    return pd.Series(DAYS.strftime(form))


@pytest.mark.parametrize(
    "form",
    [
        *("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%m/%d/%y"),
        *("%d-%b-%y", "%d %B %Y", "%b %d, %Y", "%A, %d %B %Y", "%d%b%Y", "%Y年%m月%d日"),
        *("%d/%m/%Y %I:%M %p", "%Y-%m-%d 00:00:00.000000000", "%Y-%m-%dT09:30:00+08:00"),
        *("%a %b %d %Y 00:00:00 GMT+0800 (CST)", "%Y-%m-%dT00:00:00.000Z", "%Y%m%d.0"),
        *("%d%b%Y:16:00:00", "%d.%m.%Y 16:00", " %Y-%m-%d "),
    ],
)
def test_a_format_that_reads_every_value_is_found(form: str) -> None:
    assert read(text(form)).equals(DAYS)


@pytest.mark.parametrize("form", ["%d.%m.%y", "%d%m%Y", "%Y-%j", "%d/%m/%y %H:%M"])
def test_a_format_can_be_given(form: str) -> None:
    assert read(text(form), date_format=form).equals(DAYS)
    with pytest.raises(InputError, match="set data.date_format="):
        read(text(form))


@pytest.mark.parametrize(
    ("values", "readings"),
    [
        (["01/01/2015", "02/01/2015"], "'02/01/2015' is 2015-01-02 by %d/%m/%Y but 2015-02-01"),
        (["13.04.15", "14.04.15"], "'13.04.15' is 2015-04-13 by %d.%m.%y but 2013-04-15"),
        (["05/06/07 10:00"], "'05/06/07' is 2007-06-05 by %d/%m/%y but 2007-05-06 by %m/%d/%y"),
    ],
)
def test_a_column_that_two_formats_read_is_refused(values: list[str], readings: str) -> None:
    with pytest.raises(InputError, match=f"column 'day', row .: {readings}.*data.date_format=%d"):
        read(values)


def test_equal_readings_are_no_doubt() -> None:
    assert read(["05/05/2015", "03/03/2015"]).tolist() == [
        pd.Timestamp("2015-05-05"),
        pd.Timestamp("2015-03-03"),
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            ["2015-01-02", "2015-01-05", "06/01/2015"],
            "row 3: '06/01/2015' is not .*which matches 2 of 3 distinct values",
        ),
        (["13/01/2015", "14/01/2015", "01/15/2015"], "row 3: '01/15/2015' is not a date by %d/%m"),
        (["2015-01-02", "2015-02-30"], "row 2: '2015-02-30' is not a date by %Y-%m-%d"),
        (["0000-00-00"], "row 1: '0000-00-00' is not a date"),
        ([1420156800], r"'1420156800' is not .*pd.to_datetime\(column, unit='s'\)"),
        ([42006], "a day number of Excel"),
        ([20150102.5], "'20150102.5' is not a date by %Y%m%d"),
        ([20151301], "'20151301' is not a date by %Y%m%d"),
        (["20150102", "2015013"], "'2015013' is not a date"),
        ([True], "True is of type bool"),
        (["2015-01-02", dt.date(2015, 1, 5)], "row 2: .* is a date, but the first value is text"),
        ([dt.date(9999, 12, 31)], "9999-12-31 is outside the years 1678 to 2261"),
        (["2300-01-01"], "2300-01-01 is outside the years 1678 to 2261"),
        (["2015-01-02", ""], "row 2: the date is missing"),
        (["2015-01-02T00:00:00+08:00", "2015-01-05T00:00:00"], "row 2: the time has no time zone"),
        ([pd.Period("2015-01", "M")], "2015-01 is a period of several days"),
        ([[1]], "unhashable"),
    ],
)
def test_what_is_no_date_is_refused(values: list[object], message: str) -> None:
    with pytest.raises(InputError, match=f"the DataFrame, column 'day'.*{message}"):
        read(pd.Series(values, dtype=object))


def test_rows_that_repeat_a_date_have_its_first_row_in_errors() -> None:
    with pytest.raises(InputError, match="row 4: 'soon'"):
        read(["2015-01-02", "2015-01-02", "2015-01-05", "soon", "2015-01-05", "soon"])
    with pytest.raises(InputError, match="row 2: '2015-02-30'"):
        read(["2015-01-02 09:30", "2015-02-30 09:30", "2015-02-30 10:30"])


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(DAYS.date),
        pd.Series(DAYS.to_period("D")),
        pd.Series(DAYS.strftime("%Y%m%d").astype(float)),
        pd.Series(DAYS.date, dtype=pd.ArrowDtype(pa.date32())),
        pd.Series(DAYS.strftime("%Y-%m-%d"), dtype="category"),
        pd.Series(DAYS, dtype="category"),
        pd.Series([np.datetime64(day, "D") for day in DAYS.date], dtype=object),
        pd.Series(DAYS.tz_localize("Asia/Shanghai")),
        pd.Series(DAYS.tz_localize("UTC")),
        pd.Series(DAYS + pd.Timedelta("16h")),
        pd.Series(DAYS.strftime("%Y-%m-%d")).str.encode("ascii"),
    ],
    ids=str,
)
def test_dates_are_read_from_whatever_holds_them(column: pd.Series) -> None:
    assert read(column).equals(DAYS)


# time zones


def utc(zone: str, hour: int = 0) -> pd.DatetimeIndex:
    return (DAYS + pd.Timedelta(hours=hour)).tz_localize(zone).tz_convert("UTC")


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "Australia/Sydney", "Europe/London"])
@pytest.mark.parametrize("form", ["zoned", "naive", "Z", "+00:00"])
def test_utc_of_a_local_midnight_is_refused_or_converted(zone: str, form: str) -> None:
    column: Any = utc(zone)
    if form == "naive":
        column = column.tz_localize(None)
    elif form != "zoned":
        column = column.strftime(f"%Y-%m-%dT%H:%M:%S{form}")
    with pytest.raises(InputError, match="are Sundays, 0 Fridays.*data.timezone=Asia/Shanghai"):
        read(column)
    assert read(column, timezone=zone).equals(DAYS)


def test_an_evening_west_of_greenwich_is_refused_or_converted() -> None:
    column = utc("America/New_York", hour=20)  # the next day in UTC
    with pytest.raises(InputError, match="Saturdays"):
        read(column)
    assert read(column, timezone="America/New_York").equals(DAYS)


def test_utc_whose_days_are_those_of_trading_is_read() -> None:
    assert read(utc("America/New_York")).equals(DAYS)
    assert read(utc("America/New_York", hour=16)).equals(DAYS)
    assert read(utc("Asia/Shanghai", hour=15)).equals(DAYS)


def test_a_market_from_sunday_to_thursday_is_read() -> None:
    sundays = DAYS - pd.Timedelta(days=1)
    assert read(sundays).equals(sundays)
    assert read(sundays.tz_localize("Asia/Riyadh")).equals(sundays)


def test_twelve_hours_are_those_of_a_clock() -> None:
    column = utc("Asia/Shanghai").strftime("%m/%d/%Y %I:%M %p")  # 04:00 PM
    assert read(column, timezone="Asia/Shanghai").equals(DAYS)
    sundays = DAYS - pd.Timedelta(days=1)
    assert read(sundays.strftime("%m/%d/%Y %I:%M:%S %p")).equals(sundays)  # 12:00:00 AM


def test_a_few_days_of_utc_are_not_certain() -> None:
    with pytest.raises(InputError, match="2015-01-05 16:00:00.00:00 may be in another time zone"):
        read(["2015-01-05T16:00:00Z", "2015-01-06T16:00:00Z"])
    with pytest.raises(InputError, match="timezone=Mars is not a time zone"):
        read(["2015-01-05T16:00:00Z"], timezone="Mars")


# tables


def test_prices_and_scores_take_format_and_zone(tmp_path: Path) -> None:
    frame = small_frame(n_days=30)
    written = frame.assign(date=frame["date"].dt.strftime("%d/%m/%y"))
    file = tmp_path / "prices.csv"
    written.to_csv(file, index=False)
    with pytest.raises(
        InputError, match=r"prices.csv, column 'date', row 1 \(line 2\): '01/01/15'"
    ):
        Market.from_table(file)
    found = Market.from_table(file, date_format="%d/%m/%y")
    assert found.dates.equals(Market.from_table(frame).dates)
    stamps = frame["date"].dt.tz_localize("Asia/Tokyo").dt.tz_convert("UTC")
    assert Market.from_table(
        frame.assign(date=stamps).set_index(["date", "symbol"]), timezone="Asia/Tokyo"
    ).dates.equals(found.dates)
    scores = written[["date", "symbol"]].assign(score=frame["close"])
    assert (read_scores(scores, date_format="%d/%m/%y")["date"] == frame["date"]).all()
    with pytest.raises(InputError, match="date_format=%d/%m/%y,"):
        read_scores(scores)


def test_ends_of_concepts_are_read_like_dates() -> None:
    market = Market.from_table(small_frame(n_days=10))  # from Thursday 2015-01-01

    def periods(first: object, last: object, **options: str) -> list[int]:
        table = pd.DataFrame({"symbol": ["ST0"], "concept": ["a"], "from": [first], "to": [last]})
        found = read_concepts(market, [], table=table, **options)
        return [int(found.first[0]), int(found.last[0])]

    assert periods("2015-01-02", "9999-12-31") == [1, 9]
    assert periods(dt.date(1, 1, 1), dt.date(2015, 1, 5)) == [0, 2]
    assert periods(20150102, 20150105) == [1, 2]
    assert periods("05/01/2015", "06/01/2015", date_format="%d/%m/%Y") == [2, 3]
    with pytest.raises(InputError, match="column 'from', row 1: .*data.concepts.date_format=%d"):
        periods("05/01/2015", None)
    with pytest.raises(InputError, match="is in UTC.*data.concepts.timezone="):
        periods("2015-01-04T16:00:00Z", None)
    assert periods("2015-01-04T16:00:00Z", None, timezone="Asia/Shanghai") == [2, 9]


def test_qlib_counts_blank_lines_and_takes_open_ends(tmp_path: Path) -> None:
    folder = write_qlib(tmp_path / "qlib", small_frame(n_days=10))
    (folder / "instruments" / "open.txt").write_text(
        "\n st0 \t2015-01-02\t9999-12-31\n\nST1\t20150105\t2015-01-05\n"
    )
    with pytest.raises(InputError, match="open.txt, line 4: '20150105' is not a date by %Y-%m-%d"):
        Market.from_qlib(folder, universe="open")
    (folder / "instruments" / "open.txt").write_text("\n st0 \t2015-01-02\t9999-12-31\n")
    market = Market.from_qlib(folder, universe="open")
    assert market.symbols == ("ST0",)
    assert market.members[:, 0].tolist() == [False] + [True] * 9
    calendar = folder / "calendars" / "day.txt"
    calendar.write_text("".join(f"{day:%Y-%m-%d %H:%M}\n" for day in utc("Asia/Shanghai")))
    with pytest.raises(InputError, match="day.txt: timestamps such as .*write dates as YYYY-MM-DD"):
        Market.from_qlib(folder, universe="open")
    calendar.write_text("2015-01-01\n\n\n2015-01-32\n")
    with pytest.raises(InputError, match="day.txt, line 4: '2015-01-32' is not a date"):
        Market.from_qlib(folder, universe="open")


# settings


@pytest.mark.parametrize(
    ("end", "first", "last"),
    [
        (2015, "2015-01-01", "2015-12-31"),
        ("2016-02", "2016-02-01", "2016-02-29"),
        ("2015-12", "2015-12-01", "2015-12-31"),
        ("2015-01-02", "2015-01-02", "2015-01-02"),
        (20150102, "2015-01-02", "2015-01-02"),
        (dt.date(2015, 1, 2), "2015-01-02", "2015-01-02"),
        (pd.Timestamp("2015-01-02"), "2015-01-02", "2015-01-02"),
        ("9999-12-31", "2200-01-01", "2200-01-01"),
    ],
)
def test_ends_of_segments_are_iso_dates(end: object, first: str, last: str) -> None:
    assert parse_bound(end, "left", "data.train") == pd.Timestamp(first)
    assert parse_bound(end, "right", "data.train") == pd.Timestamp(last)


@pytest.mark.parametrize(
    "end",
    [
        *("01/02/2015", "2015Q1", "2015-1-2", "202001", 201501, 2015.0, True, "Jan 2015", ""),
        *("2015-02-30", "2015-01-02 12:00", "15", pd.Timestamp("2015-01-02 12:00")),
    ],
)
def test_other_ends_are_refused(end: object) -> None:
    market = Market.from_table(small_frame(n_days=10))
    for refuse in (
        lambda: market.rows(end, None),  # type: ignore[arg-type]
        lambda: split_days(DAYS, {"train": [end, None]}, purge=0, embargo=0),
    ):
        with pytest.raises(InputError, match="is not a date: expected YYYY-MM-DD, YYYY-MM or YYYY"):
            refuse()
