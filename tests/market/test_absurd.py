"""Prices that no exchange has seen are warned of, with stock and day; real markets draw no word."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from conftest import real_data, small_frame

from alphazoo.market.market import Market

PRICES = ["open", "high", "low", "close"]
ROW = 500  # ST4 on 2015-03-30
Change = Callable[[pd.DataFrame], None]


def at(column: str, factor: float) -> Change:
    def change(frame: pd.DataFrame) -> None:
        frame.loc[ROW, column] *= factor

    return change


def everywhere(columns: list[str], factor: float) -> Change:
    def change(frame: pd.DataFrame) -> None:
        frame[columns] *= factor

    return change


def still(frame: pd.DataFrame) -> None:
    frame.loc[frame["symbol"] == "ST4", PRICES] = 50.0


def swapped(frame: pd.DataFrame) -> None:
    frame[["high", "low"]] = frame[["low", "high"]].to_numpy()


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (at("close", 11), "has 2 closes more than 10 times, or less than a tenth of, the close"),
        (at("close", 0.02), "the first of ST4 on 2015-03-30"),
        (at("open", 20), "has 1 days whose highest price is more than 10 times the lowest"),
        (everywhere(PRICES, 1e-9), "has 1,040 days with a price below 1e-05 or above 1e+07"),
        (everywhere(PRICES, 1e9), "the first of ST0 on 2015-01-01"),
        (everywhere(["volume"], 1e12), "has 1,040 volumes above 1e+13"),
        (swapped, "has 1,040 days with high below low"),
        (at("close", 1.1), "has 1 closes more than 1% outside low to high"),
        (still, "has 1 stocks whose close is the same on all of 60 days or more, the first of ST4"),
    ],
)
def test_absurd_values_are_named(
    change: Change, warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    frame = small_frame()
    change(frame)
    market = Market.from_table(frame)
    assert warning in caplog.text
    assert any(warning.removeprefix("has ") in note for note in market.notes)  # of the report


def test_a_quiet_market_draws_no_word(caplog: pytest.LogCaptureFixture) -> None:
    frame = small_frame()
    frame.loc[ROW, PRICES] *= 5  # as after a takeover bid
    frame.loc[frame.index[::7], "close"] = np.nan
    assert not Market.from_table(frame).notes
    assert "absurd" not in caplog.text


def test_a_stock_outside_the_universe_is_not_looked_at() -> None:
    frame = small_frame().assign(member=True)
    at("close", 50)(frame)
    frame.loc[frame["symbol"] == "ST4", "member"] = False
    assert not Market.from_table(frame, columns={"member": "member"}).notes


def test_real_markets_are_not_absurd() -> None:
    assert not Market.from_qlib(real_data("csi300"), universe="csi300").notes
    prices = real_data("sp500") / "prices.parquet"
    assert not Market.from_table(prices, columns={"adjusted_close": "adjusted_close"}).notes
