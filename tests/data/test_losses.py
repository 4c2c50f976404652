"""Labels that are lost are counted, and days that cost labels are named."""

import logging
import re

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import make_data, small_config, small_frame

from alphazoo.data.labels import Label
from alphazoo.data.losses import count_losses
from alphazoo.market.check import check_market, stray_losses
from alphazoo.market.market import Market

SATURDAY = pd.Timestamp("2015-03-07")
NUMBERS = re.compile(r"(?:of|one:|,) ([\d,]+) ")  # of a line about labels, but for the first
COLUMNS = {"adjusted_close": "adjusted_close"}


def read(frame: pd.DataFrame) -> Market:
    return Market.from_table(frame, columns=COLUMNS)


def with_rows_on(frame: pd.DataFrame, days: list[pd.Timestamp]) -> pd.DataFrame:
    """The first stock trades on further days."""
    row = frame[frame["symbol"] == "ST0"].iloc[:1]
    extra = [row.assign(date=day, close=60.0 + number) for number, day in enumerate(days)]
    return pd.concat([frame, *extra], ignore_index=True)


def has_label(market: Market, label: Label, dates: pd.DatetimeIndex) -> torch.Tensor:
    """Which stocks have a label on some days."""
    rows = torch.from_numpy(market.dates.get_indexer(dates))
    return (label.returns(market.field("close")).isfinite() & market.present)[rows]


@pytest.mark.parametrize("label", [Label(1, 2, "raw"), Label(1, 6, "raw")])
@pytest.mark.parametrize("n_days", [1, 12])
def test_labels_lost_to_stray_days_are_those_that_the_market_without_them_has(
    label: Label, n_days: int
) -> None:
    clean = small_frame(n_days=100, n_stocks=30)
    days = [SATURDAY + pd.Timedelta(weeks=week) for week in range(n_days)]
    whole, odd = read(clean), read(with_rows_on(clean, days))
    lost = has_label(whole, label, whole.dates) & ~has_label(odd, label, whole.dates)
    assert lost.sum() >= 29 * 2  # at least those of two days, of the other stocks
    assert stray_losses(odd, label) == lost.sum()
    assert stray_losses(whole, label) == 0


def test_a_market_with_a_stray_day_says_so(caplog: pytest.LogCaptureFixture) -> None:
    market = read(with_rows_on(small_frame(n_stocks=30), [SATURDAY]))
    assert "1 day with few members (Saturday 2015-03-07: 1 of 30)" in caplog.text
    assert "58 labels (returns from day t+1 to t+2) are lost" in caplog.text
    lines = check_market(market, Label(1, 2, "raw"))
    assert lines["days with few members"].endswith("58 labels lost")
    assert lines["odd weekdays"] == "1 Saturdays from 2015-03-07 with at most 1 members"


def test_a_day_that_is_not_complete_yet_costs_no_label(caplog: pytest.LogCaptureFixture) -> None:
    frame = small_frame(n_stocks=30)
    early = (frame["date"] == frame["date"].max()) & (frame["symbol"] > "ST1")
    market = read(frame[~early])
    assert "few members" not in caplog.text
    assert check_market(market)["days with few members"].endswith(": 2 of 30)")


def test_a_market_that_grows_shrinks_or_pauses_has_no_stray_days() -> None:
    """Ten stocks for 50 days, then 30; five trade on while the others pause for three weeks."""
    frame = small_frame(n_stocks=30)
    number = frame["symbol"].str[2:].astype(int)
    day = frame.groupby("symbol").cumcount()
    listed = (number < 10) | (day >= 50)
    pauses = (number >= 5) & (day >= 80) & (day < 95)
    assert check_market(read(frame[listed & ~pauses]))["days with few members"] == "none"


def test_every_stock_and_day_without_a_label_has_one_reason() -> None:
    """Worked out stock by stock: 6 stocks, 12 days, label from t+1 to t+3."""
    nan = np.nan
    close = np.full((12, 6), 10.0, dtype=np.float32)
    close[4, 0] = nan  # costs the labels of days 3 (to buy) and 1 (to sell)
    close[5:7, 1] = nan  # of days 4, 5 (buy; on day 5 it is not present) and 2, 3 (sell)
    close[8, :4] = nan  # a day of two stocks
    fields = {name: close.copy() for name in ("open", "high", "low", "close", "volume")}
    market = Market.from_arrays(
        name="hand",
        dates=pd.bdate_range("2020-01-01", periods=12),
        symbols=list("ABCDEF"),
        fields=fields,
        members=np.ones((12, 6), dtype=bool),
    )
    label = Label(1, 3, "raw")
    counts = count_losses(
        market,
        label,
        torch.where(market.present, label.returns(market.field("close")), nan),
        {"train": range(8), "test": range(8, 12)},
        {"train": range(5), "test": range(8, 9)},
        min_stocks=3,
    )
    assert counts == {
        "all": 6 * 12 - 1 - 2 - 4,
        "segment ends": (5 + 5 + 6) + 3 * 6,  # days 5 to 7, and 9 to 11
        "small days": 2,  # day 8
        "no buy price": 2,  # A on day 3, B on day 4
        "no sell price": 3,  # A on day 1, B on days 2 and 3
        "extremes": 0,
        "known": 6 * 5 - 1 - 2 - 3,  # days 0 to 4 (A is absent on day 4)
    }


@pytest.mark.parametrize("drop_extreme", [0.0, 0.2])
def test_a_run_says_how_many_labels_are_lost(
    drop_extreme: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    data = make_data(small_config(f"label.drop_extreme={drop_extreme}"))
    data.setup()
    line = next(text for text in caplog.messages if text.startswith("labels: "))
    known = sum(data.days(name).n_labels for name in ("train", "valid", "test"))
    assert line.startswith(f"labels: {known:,} of ")
    total, *lost = (int(number.replace(",", "")) for number in NUMBERS.findall(line))
    assert sum(lost) == total - known
    assert line.endswith(" extreme returns") == (drop_extreme > 0)


def test_a_run_warns_of_the_stray_days_that_cost_its_own_labels(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One Saturday is before the train days, one within them."""
    early = pd.Timestamp("2015-01-17")
    market = read(with_rows_on(small_frame(n_stocks=30), [early, SATURDAY]))
    make_data(small_config(), market).setup()
    assert "58 labels are lost to the days with few members" in caplog.text
    caplog.clear()
    make_data(small_config(), read(with_rows_on(small_frame(n_stocks=30), [early]))).setup()
    assert "1 day with few members" in caplog.text
    assert "labels are lost to" not in caplog.text


def test_suspensions_in_a_market_of_three_stocks_are_no_stray_days() -> None:
    frame = small_frame(n_stocks=3)
    gone = (frame["date"] == SATURDAY - pd.Timedelta(days=1)) & (frame["symbol"] != "ST0")
    assert check_market(read(frame[~gone]))["days with few members"] == "none"


def test_days_that_repeat_all_closes_are_listed() -> None:
    frame = small_frame(n_days=130)
    dates = frame["date"].unique()
    again = frame[frame["date"] == dates[70]].assign(date=dates[71])
    frame = pd.concat([frame[frame["date"] != dates[71]], again], ignore_index=True)
    lines = check_market(read(frame))
    assert lines["days that repeat all closes"] == f"1 ({dates[71]:%Y-%m-%d})"


def test_a_stray_day_does_not_repeat_all_closes() -> None:
    """The only stock that trades on the Saturday closes as on Friday."""
    frame = small_frame(n_days=130)
    friday = frame[(frame["date"] == SATURDAY - pd.Timedelta(days=1)) & (frame["symbol"] == "ST0")]
    frame = pd.concat([frame, friday.assign(date=SATURDAY)], ignore_index=True)
    assert check_market(read(frame))["days that repeat all closes"] == "none"
