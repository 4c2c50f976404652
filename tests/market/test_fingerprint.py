"""Fingerprints: data that are the same, that have grown and that have changed are told apart."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import small_frame

from alphazoo.market.concept_table import read_concepts
from alphazoo.market.fingerprint import CHANGED, GROWN, SAME, UNKNOWN, Difference, Fingerprint
from alphazoo.market.market import Market

DAYS = pd.bdate_range("2015-01-01", periods=140)
LAST = 100  # row of the last day of the old market, in the middle of a month


def read(frame: pd.DataFrame, **options: Any) -> Market:
    options = {"columns": {"member": "member", "split": "split"}} | options
    return Market.from_table(frame, indices=["ST7"], benchmark="ST6", **options)


@pytest.fixture
def grown() -> pd.DataFrame:
    """ST5 is a member from row 60 on; AAA is listed, and ZZZ a member, after the old last day."""
    frame = small_frame(n_days=140).assign(member=1, split=1.0)
    frame.loc[(frame["symbol"] == "ST5") & (frame["date"] < DAYS[60]), "member"] = 0
    early = frame[frame["symbol"] == "ST1"].assign(symbol="ZZZ")
    early["member"] = (early["date"] > DAYS[LAST]).astype(int)
    late = frame[(frame["symbol"] == "ST0") & (frame["date"] > DAYS[LAST])].assign(symbol="AAA")
    return pd.concat([frame, early, late], ignore_index=True)


@pytest.fixture
def record(grown: pd.DataFrame) -> dict[str, Any]:
    """Of the market up to the old last day, as a file has it; ZZZ was not in the table."""
    old = grown[(grown["date"] <= DAYS[LAST]) & (grown["symbol"] != "ZZZ")]
    found: dict[str, Any] = json.loads(json.dumps(Fingerprint(read(old)).record))
    return found


def compare(record: dict[str, Any], frame: pd.DataFrame, **options: Any) -> Difference:
    return Fingerprint(read(frame, **options)).compare(record)


def test_new_days_listings_and_members_are_growth(
    record: dict[str, Any], grown: pd.DataFrame
) -> None:
    assert compare(record, grown) == Difference(GROWN, "", f"{DAYS[LAST]:%Y-%m-%d}")
    assert compare(record, grown[grown["date"] <= DAYS[LAST]]).kind == SAME


@pytest.mark.parametrize(
    ("row", "symbol", "column", "what"),
    [
        (30, "ST2", "volume", "volume differs, calendar and symbols are the same (from 2015-02 on"),
        (LAST, "ST2", "high", "high differs, calendar and symbols are the same (from 2015-05 on"),
        (10, "ST5", "open", "open differs"),  # before it was a member: features look back
        (30, "ST7", "close", "close of ST7 differs"),
        (30, "ST6", "close", "benchmark differs"),
        (30, "ST2", "split", "open, high, low, close, volume, factor differ"),
        (30, "ST2", "member", "members differs"),
    ],
)
def test_one_value_that_changed_is_named(
    record: dict[str, Any], grown: pd.DataFrame, row: int, symbol: str, column: str, what: str
) -> None:
    where = (grown["date"] == DAYS[row]) & (grown["symbol"] == symbol)
    factor = {"member": 0, "split": 2}.get(column, 1.001)
    grown[column] = grown[column].astype(float).mask(where, grown[column] * factor)
    found = compare(record, grown)
    assert found.kind == CHANGED
    names = [sorted(text.partition(" differ")[0].split(", ")) for text in (found.what, what)]
    assert names[0] == names[1]
    assert what.partition(" differ")[2] in found.what


@pytest.mark.parametrize("column", ["close", "volume", "split"])
def test_stocks_that_are_not_yet_members_and_later_days_do_not_count(
    record: dict[str, Any], grown: pd.DataFrame, column: str
) -> None:
    where = (grown["symbol"] == "ZZZ") | (grown["date"] > DAYS[LAST])
    grown[column] = grown[column].mask(where, grown[column] * 1.1)
    assert compare(record, grown).kind == GROWN


def test_calendar_symbols_fields_and_ends_are_compared(
    record: dict[str, Any], grown: pd.DataFrame
) -> None:
    without = grown[grown["date"] != DAYS[30]]
    assert compare(record, without).what == "the calendar differs (from 2015-02 on)"
    renamed = grown.assign(symbol=grown["symbol"].replace("ST3", "ST33"))
    expected = "the universe members differ (from 2015-01 on)"
    assert compare(record, renamed).what == expected
    backfilled = grown.assign(member=grown["member"].mask(grown["symbol"] == "ZZZ", 1))
    assert compare(record, backfilled).what == expected
    shorter = compare(record, grown[grown["date"] < DAYS[LAST]])
    assert shorter.what.startswith("the data covered 2015-01-01 to 2015-05-21, now they cover ")
    market = read(grown)
    more = replace(market, fields={**market.fields, "vwap": market.field("close")})
    assert "vwap new" in Fingerprint(more).compare(record).what
    none = replace(market, benchmark=None)
    assert "benchmark missing" in Fingerprint(none).compare(record).what
    assert Fingerprint(market).compare({"fingerprint": "f00d"}).kind == UNKNOWN


def test_concepts_count_up_to_the_last_day(grown: pd.DataFrame) -> None:
    old, new = read(grown[grown["date"] <= DAYS[LAST]]), read(grown)

    def concepts(market: Market, **changed: Any) -> Fingerprint:
        later = f"{DAYS[LAST + 5]:%Y-%m-%d}"
        table = {
            "symbol": ["ST0", "ST1", "ST2", "AAA", "ST2"],
            "concept": ["oil", "oil", "gas", "ark", "bus"],
            "from": [None, "2015-02-01", None, None, later],
            "to": [None, None, later, None, None],
            "weight": [1.0, 2, 3, 4, 5],
        }
        frame = pd.DataFrame({**table, **changed})
        symbols = {*market.symbols}
        return Fingerprint(
            market, read_concepts(market, [], table=frame[frame["symbol"].isin(symbols)])
        )

    record = concepts(old).record
    assert concepts(new).compare(record).kind == GROWN
    other = [
        {"concept": ["oil", "gas", "gas", "ark", "bus"]},
        {"weight": [1.0, 2, 9, 4, 5]},
        {"from": [None, "2015-03-01", None, None, None]},
    ]
    for changed in other:
        found = concepts(new, **changed)
        assert found.compare(record).what == "concepts differ, calendar and symbols are the same"
    assert Fingerprint(new).compare(record).kind == GROWN  # a model that needs none
    assert concepts(new).compare(Fingerprint(old).record).what == "concepts new"


def test_missing_values_are_the_same_whatever_their_bits() -> None:
    market = read(small_frame().assign(member=1, split=1))
    close = market.field("close").clone()
    close[3, 2] = torch.nan
    known = Fingerprint(replace(market, fields={"close": close})).record
    bits = close.clone().numpy()
    bits.view(np.int32)[3, 2] = np.int32(-4194303)  # a nan with sign and payload
    assert np.isnan(bits[3, 2])
    other = replace(market, fields={"close": torch.from_numpy(bits)})
    assert Fingerprint(other).compare(known).kind == SAME


def test_a_market_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    market = read(small_frame().assign(member=1, split=1))
    record = Fingerprint(market).record
    calls = []
    monkeypatch.setattr("alphazoo.market.digests._plain", lambda x: calls.append(x) or x.numpy())
    assert Fingerprint(market).record == record
    assert not calls


def test_the_fingerprint_of_a_day_does_not_depend_on_later_days(frame: pd.DataFrame) -> None:
    days = sorted(frame["date"].unique())
    market = Market.from_table(frame)
    for row in (29, 100, 129):
        then = Market.from_table(frame[frame["date"] <= days[row]])
        assert Fingerprint(market).upto(row) == Fingerprint(then).record["fingerprint"]
    changed = Market.from_table(frame.assign(close=frame["close"].where(frame.index != 40, 1.0)))
    assert Fingerprint(changed).upto(100) != Fingerprint(market).upto(100)
