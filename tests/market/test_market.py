"""Markets and their sources: what is read, what is cleaned, what is refused."""

import logging
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import read_frame, real_data, small_frame, write_qlib
from markets import ABSENT, INDEX, MEMBERS, OUTSIDER, SILENT, market_frame, mask

from alphazoo.errors import InputError
from alphazoo.market.check import check_market
from alphazoo.market.market import Market

ADJUSTED = {"adjusted_close": "adjusted_close"}


def prices(n_days: int = 3, n_stocks: int = 2) -> dict[str, np.ndarray]:
    fields = ("open", "high", "low", "close", "volume")
    return {name: np.full((n_days, n_stocks), 10.0, dtype=np.float32) for name in fields}


def from_prices(fields: dict[str, np.ndarray], **options: object) -> Market:
    n_days, n_stocks = fields["close"].shape
    return Market.from_arrays(
        name="toy",
        dates=pd.bdate_range("2020-01-01", periods=n_days),
        symbols=["A", "B", "C"][:n_stocks],
        fields=fields,
        members=np.ones((n_days, n_stocks), dtype=bool),
        **options,
    )


def test_a_day_without_volume_is_suspended() -> None:
    fields = prices()
    fields["volume"][1, 0], fields["volume"][2, 1] = 0, np.nan
    market = from_prices(fields)
    assert market.present.tolist() == [[True, True], [False, True], [True, False]]
    assert market.fields["open"].isnan().tolist() == (~market.present).tolist()


@pytest.mark.parametrize("bad", [0.0, -1.0, np.inf])
def test_bad_prices_are_listed_and_missing(bad: float, caplog: pytest.LogCaptureFixture) -> None:
    fields = prices()
    fields["high"][1, 1] = bad
    market = from_prices(fields)
    assert market.fields["high"].isnan().sum() == 1
    assert f"high {bad} of B on 2020-01-02" in caplog.text


def test_extra_columns_of_a_table_are_fields(tmp_path: Path) -> None:
    frame = small_frame(n_days=10, n_stocks=3)
    frame["earnings"] = np.arange(30.0) - 15
    market = Market.from_table(frame, extra=["earnings"])
    assert market.field("earnings").flatten().tolist() == (np.arange(30.0) - 15).tolist()
    with pytest.raises(InputError, match="data.extra has 'close', which is"):
        Market.from_table(frame, extra=["close"])
    with pytest.raises(InputError, match="no column 'earning'"):
        Market.from_table(frame, extra=["earning"])


def test_bad_prices_can_be_refused() -> None:
    fields = prices()
    fields["close"][0, 0] = -5
    with pytest.raises(InputError, match=r"1 non-positive .* \(close -5.0 of A on 2020-01-01\)"):
        from_prices(fields, bad_prices="refuse")
    with pytest.raises(InputError, match="unknown bad_prices 'ignore'; available: missing"):
        from_prices(fields, bad_prices="ignore")


def test_a_stock_is_present_where_it_has_a_close() -> None:
    fields = prices()
    fields["open"][0, 0] = fields["high"][1, 1] = fields["close"][2, 0] = np.nan
    market = from_prices(fields)
    assert market.present.tolist() == [[True, True], [True, True], [False, True]]
    market.members[1, 0] = False
    assert market.present.tolist() == [[True, True], [False, True], [False, True]]


def test_a_missing_field_is_named() -> None:
    fields = prices()
    del fields["low"]
    with pytest.raises(InputError, match=r"lacks the fields \['low'\]"):
        from_prices(fields)
    with pytest.raises(InputError, match="no field 'opne'; did you mean 'open'"):
        from_prices(prices()).field("opne")


def test_arrays_must_have_their_types() -> None:
    fields = prices()
    with pytest.raises(InputError, match="close is float64 .3, 2., expected float32"):
        from_prices({**fields, "close": fields["close"].astype(float)})
    with pytest.raises(InputError, match="close is float32 .3, 1., expected float32 .3, 2."):
        Market.from_arrays(
            name="toy",
            dates=pd.bdate_range("2020-01-01", periods=3),
            symbols=["A", "B"],
            fields={**fields, "close": fields["close"][:, :1]},
            members=np.ones((3, 2), dtype=bool),
        )
    with pytest.raises(InputError, match="duplicate symbols: A"):
        Market.from_arrays(
            name="toy",
            dates=pd.bdate_range("2020-01-01", periods=3),
            symbols=["A", "A"],
            fields=fields,
            members=np.ones((3, 2), dtype=bool),
        )


def test_a_market_without_volume_is_refused() -> None:
    fields = prices()
    fields["volume"][:] = 0
    with pytest.raises(InputError, match="'toy' has no volume"):
        from_prices(fields)


def test_the_calendar_must_increase() -> None:
    with pytest.raises(InputError, match="2020-01-01 follows 2020-01-02"):
        Market.from_arrays(
            name="toy",
            dates=pd.DatetimeIndex(["2020-01-02", "2020-01-01", "2020-01-03"]),
            symbols=["A", "B"],
            fields=prices(),
            members=np.ones((3, 2), dtype=bool),
        )


# every source


def test_the_small_markets_have_what_happens_in_them(small_market: Market) -> None:
    present = small_market.present[:, :10].numpy()
    np.testing.assert_array_equal(present, mask(MEMBERS) & ~mask(ABSENT) & ~mask(SILENT))
    for segment in (slice(22, 75), slice(75, 97), slice(97, 130)):
        steps = np.diff(mask(MEMBERS)[segment].astype(int), axis=0)
        assert {-1, 1} <= set(steps.ravel())  # one leaves, one enters
        assert (mask(MEMBERS) & ~present)[segment].any()  # a suspension
        close = small_market.field("close")[segment, :10]
        moves = (close[1:] / close[:-1] - 1).abs()
        assert ((moves - 0.1).abs() < 1e-5).any()  # at the limit
    assert not small_market.members[:, [INDEX, OUTSIDER]].any()
    assert small_market.field("vwap")[small_market.present].isfinite().all()
    assert len(small_market.indices) == 1


def test_sources_of_the_same_prices_give_the_same_market(tmp_path: Path) -> None:
    """Read raw and adjusted here, or adjusted before by pandas in double precision."""
    frame = market_frame()
    table, qlib = (read_frame(name, frame, tmp_path / name) for name in ("table", "qlib"))
    assert table.dates.equals(qlib.dates)
    assert table.symbols == qlib.symbols
    assert torch.equal(table.present, qlib.present)
    for name, panel in qlib.fields.items():
        torch.testing.assert_close(table.field(name), panel, rtol=1e-6, atol=0, equal_nan=True)
    torch.testing.assert_close(table.factor, qlib.factor, rtol=1e-6, atol=0, equal_nan=True)
    for name, series in qlib.indices["ST7"].items():
        torch.testing.assert_close(table.indices["ST7"][name], series, rtol=1e-6, atol=0)
    typical = sum(table.field(name) for name in ("high", "low", "close")) / 3
    torch.testing.assert_close(table.field("vwap"), typical, rtol=1e-5, atol=0, equal_nan=True)


# Qlib folder


def test_qlib_reads_what_was_written(qlib_folder: Path, frame: pd.DataFrame) -> None:
    market = Market.from_qlib(qlib_folder, universe="all", benchmark="ST3")
    close = frame.pivot(index="date", columns="symbol", values="close")
    assert market.symbols == tuple(close.columns)
    assert market.dates.equals(pd.DatetimeIndex(close.index).as_unit(market.dates.unit))
    np.testing.assert_array_equal(market.fields["close"], close.to_numpy(np.float32))
    assert market.benchmark is not None
    np.testing.assert_array_equal(market.benchmark, close["ST3"].to_numpy(np.float32))


def test_qlib_membership_has_several_periods(qlib_folder: Path) -> None:
    market = Market.from_qlib(qlib_folder, universe="some")
    member = pd.Series(market.members[:, 0].numpy(), index=market.dates)
    assert market.symbols == ("ST0", "ST1")
    assert member[:"2015-02-27"].all()
    assert not member["2015-02-28":"2015-03-31"].any()
    assert member["2015-04-01":].all()


def test_qlib_series_start_where_the_file_says(tmp_path: Path) -> None:
    frame = small_frame()
    late = frame[(frame["symbol"] != "ST1") | (frame["date"] >= "2015-02-02")]
    market = Market.from_qlib(write_qlib(tmp_path / "late", late), universe="all")
    first = market.dates[market.present[:, 1].nonzero()[0].item()]
    assert f"{first:%Y-%m-%d}" == "2015-02-02"


def test_qlib_reads_the_factor_where_there_is_one(tmp_path: Path, frame: pd.DataFrame) -> None:
    assert Market.from_qlib(write_qlib(tmp_path / "without", frame), universe="all").factor is None
    folder = write_qlib(tmp_path / "with", frame.assign(factor=2.5), extra=["factor"])
    (folder / "features" / "st2" / "factor.day.bin").unlink()
    market = Market.from_qlib(folder, universe="all")
    assert market.factor is not None
    assert market.factor[:, 0].eq(2.5).all()
    assert market.factor[:, 2].isnan().all()
    assert market.until(9).factor.shape == (10, 8)
    assert "factor" not in market.fields  # features would see it


def test_qlib_names_symbols_without_data(
    qlib_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (qlib_folder / "instruments" / "all.txt").open("a") as file:
        file.write("GONE\t2015-01-01\t2016-01-01\n")
    assert "GONE" not in Market.from_qlib(qlib_folder, universe="all").symbols
    assert "1 symbols of all have no data: GONE" in caplog.text


def damage(file: Path, **change: object) -> None:
    data = bytearray(file.read_bytes())
    if "start" in change:
        data[:4] = np.float32(change["start"]).tobytes()
    file.write_bytes(bytes(data) + change.get("append", b""))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"append": b"\0"}, "525 bytes, expected a positive multiple of 4"),
        ({"append": b"\0" * 400}, "230 values from calendar row 0.0 on, which exceeds the cal"),
        ({"start": 1}, "130 values from calendar row 1.0 on, which exceeds the cal"),
        ({"start": -1}, "130 values from calendar row -1.0"),
        ({"start": 0.5}, "130 values from calendar row 0.5"),
    ],
)
def test_qlib_refuses_damaged_files(
    qlib_folder: Path, change: dict[str, object], message: str
) -> None:
    damage(qlib_folder / "features" / "st2" / "open.day.bin", **change)
    with pytest.raises(InputError, match=f"st2/open.day.bin has {message}"):
        Market.from_qlib(qlib_folder, universe="all")


def test_qlib_names_what_is_missing(qlib_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the calendar .*nowhere.* does not exist"):
        Market.from_qlib(tmp_path / "nowhere", universe="all")
    with pytest.raises(InputError, match="no universe 'som' .*did you mean 'some'"):
        Market.from_qlib(qlib_folder, universe="som")
    (qlib_folder / "features" / "st2" / "low.day.bin").unlink()
    with pytest.raises(InputError, match="no file .*st2/low.day.bin"):
        Market.from_qlib(qlib_folder, universe="all")


def test_qlib_refuses_wrong_dates(qlib_folder: Path) -> None:
    instruments = qlib_folder / "instruments"
    (instruments / "reversed.txt").write_text("ST0\t2015-05-01\t2015-04-01\n")
    with pytest.raises(InputError, match=r"reversed.txt, line 1: the period of ST0 ends before"):
        Market.from_qlib(qlib_folder, universe="reversed")
    (instruments / "spaces.txt").write_text("ST0 2015-05-01 2015-06-01\n")
    with pytest.raises(
        InputError, match="spaces.txt, line 1: expected symbol, from, to, separated by tabs"
    ):
        Market.from_qlib(qlib_folder, universe="spaces")
    (instruments / "empty.txt").write_text("")
    with pytest.raises(InputError, match="empty.txt has no rows"):
        Market.from_qlib(qlib_folder, universe="empty")
    with pytest.raises(
        InputError, match=r"benchmark .*sh1/close.day.bin does not exist: set data.benchmark"
    ):
        Market.from_qlib(qlib_folder, universe="all", benchmark="SH1")
    (instruments / "words.txt").write_text("ST0\t2015-05-01\tsoon\n")
    with pytest.raises(InputError, match=r"words.txt, line 1: 'soon' is not a date"):
        Market.from_qlib(qlib_folder, universe="words")
    (qlib_folder / "calendars" / "day.txt").write_text("2015-01-01\n2015-13-01\n")
    with pytest.raises(InputError, match=r"day.txt, line 2: '2015-13-01' is not a date"):
        Market.from_qlib(qlib_folder, universe="all")


def test_csi300_loads_in_three_seconds() -> None:
    folder = real_data("csi300")
    start = time.perf_counter()
    market = Market.from_qlib(folder, universe="csi300", benchmark="SH000300")
    assert time.perf_counter() - start < 3
    assert (len(market.dates), len(market.symbols)) == (2674, 644)


# long table


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".csv.gz"])
def test_files_and_frames_give_the_same_market(
    tmp_path: Path, frame: pd.DataFrame, suffix: str
) -> None:
    file = tmp_path / f"prices{suffix}"
    frame.to_parquet(file) if suffix == ".parquet" else frame.to_csv(file, index=False)
    ours = Market.from_table(file, columns=ADJUSTED)
    theirs = Market.from_table(frame, columns=ADJUSTED)
    assert ours.dates.equals(theirs.dates)
    assert ours.symbols == theirs.symbols
    for name, panel in theirs.fields.items():
        torch.testing.assert_close(ours.fields[name], panel, rtol=1e-6, atol=0)


def test_adjusted_close_adjusts_every_price_and_the_volume(frame: pd.DataFrame) -> None:
    market = Market.from_table(frame, columns=ADJUSTED)  # adjusted = half of the raw close
    for name, factor in {"open": 0.5, "high": 0.5, "low": 0.5, "close": 0.5, "volume": 2}.items():
        raw = frame.pivot(index="date", columns="symbol", values=name).to_numpy()
        np.testing.assert_allclose(market.fields[name], raw * factor, rtol=1e-6)
    assert market.factor.eq(0.5).all()
    assert Market.from_table(frame).factor is None  # prices that are adjusted already


def test_splits_and_dividends_adjust_forwards() -> None:
    """Two shares for one on day 2, then a dividend of 1 at a close of 50 on day 4."""
    frame = pd.DataFrame(
        {
            "date": pd.bdate_range("2020-01-01", periods=4),
            "symbol": "A",
            "open": [100.0, 50, 51, 50],
            "high": [100.0, 50, 51, 50],
            "low": [100.0, 50, 51, 50],
            "close": [100.0, 50, 51, 50],
            "volume": [10.0, 20, 20, 20],
            "split": [1.0, 2, 1, 1],
            "dividend": [0.0, 0, 0, 1],
        }
    )
    market = Market.from_table(frame, columns={"split": "split", "dividend": "dividend"})
    adjusted = [100, 100, 102, 50 * 2 * (1 + 1 / 50)]
    np.testing.assert_allclose(market.fields["close"][:, 0], adjusted, rtol=1e-6)
    np.testing.assert_allclose(market.fields["volume"][:2, 0], [10, 10], rtol=1e-6)
    np.testing.assert_allclose(market.factor[:, 0], [1, 2, 2, 2.04], rtol=1e-6)
    changed = frame.assign(split=[1.0, 2, 1, 3])
    again = Market.from_table(changed, columns={"split": "split", "dividend": "dividend"})
    assert torch.equal(again.fields["close"][:3], market.fields["close"][:3])


def test_no_split_may_be_written_as_zero(frame: pd.DataFrame) -> None:
    plain = Market.from_table(frame)
    zeros = Market.from_table(frame.assign(split=0.0), columns={"split": "split"})
    assert torch.equal(zeros.fields["close"], plain.fields["close"])


def test_impossible_events_are_refused(frame: pd.DataFrame) -> None:
    for name, value in (("split", -2.0), ("dividend", np.inf)):
        wrong = frame.assign(**{name: 0.0})
        wrong.loc[8, name] = value
        with pytest.raises(
            InputError, match=f"1 values of {name} .*: {value} of ST0 on 2015-01-02"
        ):
            Market.from_table(wrong, columns={name: name})


def test_a_dividend_without_a_close_is_said(
    frame: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    frame["dividend"] = 0.0
    frame.loc[8, ["close", "dividend"]] = [np.nan, 1.0]
    Market.from_table(frame, columns={"dividend": "dividend"})
    assert "1 dividends are ignored, because the stock has no close" in caplog.text


def test_adjusting_by_splits_agrees_with_the_vendor() -> None:
    """On the S&P 500 both ways of adjusting give the same returns where nothing is paid."""
    table = pd.read_parquet(real_data("sp500") / "prices.parquet")
    table = table[table["symbol"].isin(["AAPL", "MSFT", "AMZN", "XOM"])]
    by_close = Market.from_table(table, columns=ADJUSTED)
    by_events = Market.from_table(table, columns={"split": "split", "dividend": "dividend"})
    returns = [m.fields["close"][1:] / m.fields["close"][:-1] - 1 for m in (by_close, by_events)]
    assert (returns[0] - returns[1]).abs().max() < 2e-3  # ex-date conventions differ by div^2


def test_member_column_and_benchmark(frame: pd.DataFrame) -> None:
    frame["inside"] = (frame["symbol"] == "ST0") & (frame["date"] >= "2015-03-02")
    market = Market.from_table(frame, columns={"member": "inside"}, benchmark="ST7")
    assert market.members.sum(dim=0).tolist() == [int(frame["inside"].sum())] + [0] * 7
    assert market.benchmark is not None
    assert torch.equal(market.benchmark, market.fields["close"][:, 7])
    everyone = Market.from_table(frame, benchmark="ST7")
    assert everyone.members.all(dim=0).tolist() == [True] * 7 + [False]


def test_without_a_member_column_every_stock_with_a_close_is_one(frame: pd.DataFrame) -> None:
    absent = (frame["symbol"] == "ST3") & (frame["date"] < "2015-02-02")
    frame.loc[frame["symbol"] == "ST5", "volume"] = 0
    members = Market.from_table(frame[~absent]).members
    assert members.sum(dim=0).tolist() == [130] * 3 + [130 - 22] + [130] * 4


def test_unsorted_rows_are_sorted_with_a_note(
    frame: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    sorted_market = Market.from_table(frame)
    assert "not in order" not in caplog.text
    shuffled = Market.from_table(frame.sample(frac=1, random_state=0))
    assert "the dates are not in order, and are sorted" in caplog.text
    assert torch.equal(shuffled.fields["close"], sorted_market.fields["close"])


def test_duplicate_rows_are_named(frame: pd.DataFrame) -> None:
    twice = pd.concat([frame, frame.iloc[[9]]])
    with pytest.raises(InputError, match="1 rows that repeat .*: 2015-01-02 ST1"):
        Market.from_table(twice)


def test_dates_may_be_text_numbers_or_objects(frame: pd.DataFrame) -> None:
    expected = Market.from_table(frame).dates
    for dates in (
        frame["date"].dt.strftime("%Y-%m-%d"),
        frame["date"].dt.strftime("%Y%m%d").astype(int),
        frame["date"].dt.strftime("%Y%m%d").astype(float),
        frame["date"].dt.date,
        frame["date"]
        .dt.strftime("%Y-%m-%d 00:00:00-05:00")
        .where(frame.index > 500, frame["date"].dt.strftime("%Y-%m-%dT00:00:00-04:00")),
        frame["date"].dt.tz_localize("US/Eastern"),
        frame["date"] + pd.Timedelta("16h"),
    ):
        assert Market.from_table(frame.assign(date=dates)).dates.equals(expected)


def test_unparsable_dates_are_named(frame: pd.DataFrame) -> None:
    dates = frame["date"].dt.strftime("%Y-%m-%d")
    dates[3] = "yesterday"
    with pytest.raises(
        InputError, match="column 'date', row 4: 'yesterday' is not a date by %Y-%m-%d"
    ):
        Market.from_table(frame.assign(date=dates))


def test_columns_are_checked(tmp_path: Path, frame: pd.DataFrame) -> None:
    with pytest.raises(InputError, match=r"no column 'opn' for open .*; did you mean 'open'"):
        Market.from_table(frame, columns={"open": "opn"})
    with pytest.raises(
        InputError, match="set .*adjusted_close to its name, or null if there is none"
    ):
        Market.from_table(frame.drop(columns="adjusted_close"), columns=ADJUSTED)
    with pytest.raises(InputError, match="unknown key 'opne'; did you mean 'open'"):
        Market.from_table(frame, columns={"opne": "open"})
    with pytest.raises(InputError, match="choose one way of adjusting"):
        Market.from_table(frame, columns={**ADJUSTED, "split": "volume"})
    with pytest.raises(
        InputError, match="column 'close', row 1 .ST0 on 2015-01-01.: 'n/k' is not a number"
    ):
        Market.from_table(
            frame.assign(close=frame["close"].astype(object).where(frame.index > 0, "n/k"))
        )
    with pytest.raises(InputError, match="has no rows of 'SPY' .data.benchmark."):
        Market.from_table(frame, benchmark="SPY")
    with pytest.raises(InputError, match="has no rows"):
        Market.from_table(frame[:0])
    with pytest.raises(InputError, match="no file .*prices.parquet"):
        Market.from_table(tmp_path / "prices.parquet")
    with pytest.raises(
        InputError, match="column 'w', row 1: expected true or false, 1 or 0, found 0.5"
    ):
        Market.from_table(frame.assign(w=0.5), columns={"member": "w"})
    for name, content in (
        ("broken.parquet", b"PAR1"),
        ("empty.csv", b""),
        ("odd.csv", b"\xff\xfe"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            Market.from_table(tmp_path / name)
    (tmp_path / "prices.xlsx").touch()
    with pytest.raises(InputError, match=r"expected a .parquet, .csv or .csv.gz file"):
        Market.from_table(tmp_path / "prices.xlsx")


def test_a_stock_may_be_called_na(tmp_path: Path, frame: pd.DataFrame) -> None:
    frame["symbol"] = frame["symbol"].replace({"ST0": "NA", "ST1": "NAN"})
    frame.to_csv(tmp_path / "prices.csv", index=False)
    assert Market.from_table(tmp_path / "prices.csv").symbols[:2] == ("NA", "NAN")


# synthetic


def synthetic(**change: object) -> Market:
    options = {"n_days": 400, "n_stocks": 60, "n_sectors": 4, "reversal": 0.3, "lead_lag": 0.2}
    return Market.from_synthetic(**{**options, "seed": 0, **change})


def test_the_synthetic_market_follows_its_seed() -> None:
    again, other = synthetic(), synthetic(seed=1)
    market = synthetic()
    for name, panel in market.fields.items():
        torch.testing.assert_close(panel, again.fields[name], rtol=0, atol=0, equal_nan=True)
    assert not torch.equal(market.members, other.members)


def test_the_synthetic_market_has_coherent_prices() -> None:
    fields = {name: panel[synthetic().present] for name, panel in synthetic().fields.items()}
    assert (fields["low"] <= fields["open"].minimum(fields["close"])).all()
    assert (fields["high"] >= fields["open"].maximum(fields["close"])).all()
    assert ((fields["low"] <= fields["vwap"]) & (fields["vwap"] <= fields["high"])).all()


def test_the_index_of_the_synthetic_market_earns_the_mean_of_all_stocks() -> None:
    market = synthetic(n_days=60)
    close = torch.cat([torch.full((1, 60), 100.0), market.fields["close"]])
    moves = (close[1:] / close[:-1] - 1).nanmean(dim=1)
    level = torch.cat([torch.tensor([1000.0]), market.benchmark])
    whole = market.fields["close"].isfinite().all(dim=1)
    whole[1:] &= whole[:-1].clone()
    assert whole.sum() > 20
    torch.testing.assert_close((level[1:] / level[:-1] - 1)[whole], moves[whole], atol=1e-6, rtol=0)


def test_members_come_and_go_and_days_are_suspended() -> None:
    market = synthetic()
    moves = market.members.int().diff(dim=0)
    assert (moves == 1).any()
    assert (moves == -1).any()
    assert (market.members & ~market.present).any()


def test_oracle_ic_is_the_planted_strength() -> None:
    """Own signal has variance 0.3^2 beside noise of variance 1: IC near 0.3 / sqrt(1.09)."""
    own = synthetic(lead_lag=0.0, n_days=1000)
    assert own.oracle_ic("own") == pytest.approx(0.3 / 1.09**0.5, abs=0.03)
    assert own.oracle_ic() == pytest.approx(own.oracle_ic("own"), abs=1e-6)
    assert synthetic(reversal=0.0, lead_lag=0.0).oracle_ic() == 0.0
    both = synthetic()
    assert both.oracle_ic() > max(both.oracle_ic("own"), both.oracle_ic("sector"))
    with pytest.raises(InputError, match="got 'mine'"):
        both.oracle_ic("mine")


def test_the_sector_signal_is_not_in_the_own_window() -> None:
    """What leaders did correlates with the stock's past three days no more than by chance."""
    market = synthetic(n_days=1000)
    close = market.fields["close"]
    past = (close[3:] / close[:-3] - 1)[1:]
    lead = market.planted.signals["sector"][4:]
    followers = (lead != 0) & past.isfinite()
    correlation = torch.corrcoef(torch.stack([past[followers], lead[followers]]))[0, 1]
    assert abs(correlation) < 0.05


def test_a_synthetic_market_needs_stocks_for_its_sectors() -> None:
    with pytest.raises(InputError, match="5 stocks per sector"):
        synthetic(n_sectors=20)


# check


def test_check_reports_what_looks_odd(
    frame: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    frame.loc[frame["date"] > "2015-03-10", "date"] += pd.Timedelta(days=30)
    split = (frame["symbol"] == "ST2") & (frame["date"] >= "2015-02-02")
    frame.loc[split, ["open", "high", "low", "close"]] /= 4
    frame.loc[5, "open"] = np.nan
    frame.loc[7, "volume"] = 0  # a suspended day misses everything, and does not count
    lines = check_market(Market.from_table(frame))
    assert lines["days"].startswith("130 from 2015-01-01")
    assert "2015-03-10 to 2015-04-10" in lines["gaps of more than 12 days in the calendar"]
    assert "ST2 2015-02-02 -7" in lines["moves of more than 50% a day"]
    assert lines["vwap"] == "not in this source"
    assert lines["open"] == "missing on 0.10% of the days with a close"


def test_the_table_of_a_market_gives_the_market_again() -> None:
    market = Market.from_synthetic(
        n_days=40, n_stocks=10, n_sectors=2, reversal=0.1, lead_lag=0.1, seed=0
    )
    table = market.to_table()
    assert len(table) == int(market.field("close").isfinite().sum())
    again = Market.from_table(table, columns={"vwap": "vwap", "member": "member"})
    assert again.dates.equals(market.dates)
    assert again.symbols == market.symbols
    assert all(
        torch.equal(panel.nan_to_num(), again.field(name).nan_to_num())
        for name, panel in market.fields.items()
    )
    assert torch.equal(again.present, market.present)
