"""Score tables of any tool: what is read, what is refused, which returns they are joined with."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import small_frame

from alphazoo.data.labels import Label
from alphazoo.data.scores import join_returns, read_scores
from alphazoo.errors import InputError
from alphazoo.market.market import Market
from alphazoo.qlib import convert_scores

NEXT_DAY = Label(buy=1, sell=2, scale="rank")


@pytest.fixture
def scores() -> pd.DataFrame:
    """Four days from Thursday 2015-01-01 of three stocks."""
    dates = pd.bdate_range("2015-01-01", periods=4)
    return pd.DataFrame(
        {
            "date": np.repeat(dates, 3),
            "symbol": ["ST0", "ST1", "ST2"] * 4,
            "score": np.arange(12) / 4,
        }
    )


@pytest.fixture
def market() -> Market:
    """130 days of ST0 to ST7; ST2 is a member from the third day, ST1 suspended on the second."""
    frame = small_frame()
    frame["member"] = (frame["symbol"] != "ST2") | (frame["date"] >= "2015-01-05")
    frame.loc[(frame["symbol"] == "ST1") & (frame["date"] == "2015-01-02"), "volume"] = 0
    columns = {"adjusted_close": "adjusted_close", "member": "member"}
    return Market.from_table(frame, columns=columns)


def write(table: pd.DataFrame, file: Path, index: bool = False) -> Path:
    if file.suffix == ".parquet":
        table.to_parquet(file, index=index)
    else:
        table.to_csv(file, index=index)
    return file


@pytest.mark.parametrize("form", ["scores.csv", "scores.csv.gz", "scores.parquet", "frame"])
@pytest.mark.parametrize("names", ["ours", "qlib", "index"])
def test_tables_of_other_tools_are_read(
    form: str, names: str, scores: pd.DataFrame, tmp_path: Path
) -> None:
    table = scores
    if names != "ours":
        table = scores.set_axis(["datetime", "instrument", "Score"], axis="columns")
        table = table.assign(label=1.0)[["label", "Score", "instrument", "datetime"]]
    if names == "index":
        table = table.set_index(["datetime", "instrument"])
    given = table if form == "frame" else write(table, tmp_path / form, index=names == "index")
    found = read_scores(given)
    pd.testing.assert_frame_equal(found, scores, check_dtype=False)


def test_other_names_can_be_given(scores: pd.DataFrame) -> None:
    table = scores.set_axis(["day", "ticker", "prediction"], axis="columns")
    names = {"date": "day", "symbol": "ticker", "score": "prediction"}
    pd.testing.assert_frame_equal(read_scores(table, columns=names), scores, check_dtype=False)
    with pytest.raises(InputError, match="columns has an unknown key 'dates'; .*'date'"):
        read_scores(table, columns={"dates": "day"})


def test_returns_and_splits_are_kept(scores: pd.DataFrame, tmp_path: Path) -> None:
    table = scores.assign(split="test", **{"return": 0.5})
    found = read_scores(write(table, tmp_path / "scores.csv"))
    pd.testing.assert_frame_equal(found[table.columns], table, check_dtype=False)


def test_symbols_that_look_like_numbers_or_nothing_stay_text(tmp_path: Path) -> None:
    file = tmp_path / "scores.csv"
    file.write_text("date,symbol,score\n20150102,000001,1\n20150102,NA,2\n")
    found = read_scores(file)
    assert found["symbol"].tolist() == ["000001", "NA"]
    assert found["date"].tolist() == [pd.Timestamp("2015-01-02")] * 2


def test_scores_that_are_not_finite_are_counted_once_and_left_out(
    scores: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    scores.loc[[0, 5], "score"] = [np.nan, np.inf]
    found = read_scores(scores)
    assert len(found) == 10
    assert found.index.tolist() == list(range(10))
    assert [r.getMessage() for r in caplog.records] == [
        "2 of 12 scores are not finite in the DataFrame; dropped"
    ]
    caplog.clear()
    read_scores(found)
    assert not caplog.records


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": None}, "no column score: columns.score=NAME .*columns={'score': NAME}"),
        ({"date": None}, "no column date or datetime"),
        ({"Datetime": "2015-01-01"}, "several columns for date: date, Datetime; columns.date=NAME"),
        ({"date": "2015-01-01"}, "9 rows that repeat .* of another: 2015-01-01 ST0"),
        (
            {"date": ["soon"] + ["2015-01-01"] * 11},
            "column 'date', row 1.*: 'soon' is not a date by %Y-%m-%d",
        ),
        (
            {"score": ["high"] + [1] * 11},
            "column 'score', row 1 .*ST0 on 2015-01-01.: 'high' is not a number",
        ),
        ({"return": "much"}, "column 'return', row 1 .*: 'much' is not a number, and 11 more rows"),
        ({"score": 0.1}, "on no day do two stocks have different finite scores"),
        ({"score": np.nan}, "on no day do two stocks have different finite scores"),
    ],
)
@pytest.mark.parametrize("form", ["frame", "csv"])
def test_wrong_tables_are_refused(
    change: dict[str, object], message: str, form: str, scores: pd.DataFrame, tmp_path: Path
) -> None:
    table = scores.assign(**change)
    table = table.drop(columns=[name for name, value in change.items() if value is None])
    file = tmp_path / "scores.csv"
    with pytest.raises(InputError, match=message) as error:
        read_scores(table if form == "frame" else write(table, file))
    assert (str(file) if form == "csv" else "the DataFrame") in str(error.value)


def test_files_that_hold_no_table_are_refused(scores: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file .*none.csv"):
        read_scores(tmp_path / "none.csv")
    with pytest.raises(InputError, match="has no rows"):
        read_scores(write(scores.iloc[:0], tmp_path / "empty.csv"))
    for name in ("scores.parquet", "scores.pkl"):
        scores.to_pickle(tmp_path / name)
        with pytest.raises(InputError, match=name):
            read_scores(tmp_path / name)


def test_returns_are_those_of_the_market_after_the_score(
    scores: pd.DataFrame, market: Market, caplog: pytest.LogCaptureFixture
) -> None:
    table = join_returns(scores.assign(**{"return": 9.9}), market, NEXT_DAY)
    close = market.field("close")
    # not a member on two days, suspended on one
    keys = [
        (f"{date:%d}", symbol) for date, symbol in zip(table["date"], table["symbol"], strict=True)
    ]
    assert keys == [
        ("01", "ST0"),
        ("01", "ST1"),
        ("02", "ST0"),
        *[(day, f"ST{i}") for day in ("05", "06") for i in range(3)],
    ]
    assert "3 of 12 scores are not of members of market" in caplog.text
    returns = table["return"].tolist()
    assert returns[0] == pytest.approx(float(close[2, 0] / close[1, 0] - 1))
    assert np.isnan(returns[1])  # cannot be bought on the day it is suspended
    assert returns[-1] == pytest.approx(float(close[5, 2] / close[4, 2] - 1))
    week = join_returns(scores, market, Label(buy=1, sell=6, scale="raw"))
    assert week["return"].iloc[0] == pytest.approx(float(close[6, 0] / close[1, 0] - 1))


def test_the_newest_days_have_no_return(scores: pd.DataFrame, market: Market) -> None:
    past = market.until(3)  # the last of the scored days
    known = join_returns(scores, past, NEXT_DAY).groupby("date")["return"].count()
    assert known.tolist() == [1, 1, 0, 0]


def test_unknown_symbols_and_dates_are_refused_or_left_out(
    scores: pd.DataFrame, market: Market, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = scores.copy()
    wrong.loc[[0, 4], "symbol"] = ["YY", "XX"]
    wrong.loc[[9, 10, 11], "date"] = pd.Timestamp("2015-01-03")  # a Saturday
    with pytest.raises(InputError) as error:
        join_returns(wrong, market, NEXT_DAY)
    text = str(error.value)
    assert "2 symbols that market" in text
    assert "lacks: YY, XX; known are ST0, ST1, ST2 and 5 more" in text
    assert "1 dates that are not trading days" in text
    assert "(2015-01-01 to 2015-07-01): 2015-01-03" in text
    table = join_returns(wrong, market, NEXT_DAY, drop_unknown=True)
    assert len(table) == 12 - 5 - 2
    assert "5 of 12 scores are not in market 'the DataFrame' (2 symbols that market" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"date": pd.Timestamp("2031-01-01")}, "2015-07-01.: 2031-01-01; drop_unknown=true drops"),
        ({"date": pd.Timestamp("2010-01-01")}, "1 dates that are not trading days"),
        ({"symbol": "ST2", "date": pd.Timestamp("2015-01-01")}, "no score is of a member"),
    ],
)
def test_scores_outside_the_market_are_refused(
    change: dict[str, object], message: str, scores: pd.DataFrame, market: Market
) -> None:
    with pytest.raises(InputError, match=message):
        join_returns(scores.assign(**change), market, NEXT_DAY)
    with pytest.raises(InputError, match="no score is of a member"):
        join_returns(scores.assign(**change), market, NEXT_DAY, drop_unknown=True)


@pytest.mark.parametrize("kind", ["frame", "series", "unnamed"])
@pytest.mark.parametrize("protocol", [4, 5])
def test_scores_of_qlib_are_converted(
    kind: str, protocol: int, scores: pd.DataFrame, tmp_path: Path
) -> None:
    names = {"date": "datetime", "symbol": "instrument"}
    table: Any = scores.rename(columns=names).set_index([*names.values()])
    if kind != "frame":
        table = table["score"].rename("score" if kind == "series" else None)
    file, out = tmp_path / "pred.pkl", tmp_path / "new" / "scores.parquet"
    file.write_bytes(pickle.dumps(table, protocol=protocol))
    convert_scores(file, out)
    pd.testing.assert_frame_equal(read_scores(out), scores, check_dtype=False)
    assert [*out.parent.iterdir()] == [out]


class Runs:
    """Makes a folder where a pickle of it is loaded as it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"import os; os.mkdir({str(self.folder)!r})",)


class Calls:
    """Calls what is given where a pickle of it is loaded as it is."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("hidden", [False, True])
def test_a_pickle_that_runs_something_is_refused_unrun(hidden: bool, tmp_path: Path) -> None:
    file, trace = tmp_path / "pred.pkl", tmp_path / "trace"
    evil: Any = Runs(trace)
    if hidden:  # in a cell of a table
        evil = pd.DataFrame({"score": [1.0, 2.0], "note": [evil, evil]})
    file.write_bytes(pickle.dumps(evil))
    with pytest.raises(InputError, match="pred.pkl is not a pickled table: it holds builtins.exec"):
        convert_scores(file, tmp_path / "scores.parquet")
    assert not trace.exists()
    pickle.loads(file.read_bytes())
    assert trace.exists()  # it would have


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Calls(pd.read_pickle, "other.pkl")), "it holds pandas.*read_pickle"),
        (pickle.dumps(Calls(getattr, "text", "format")), "it holds builtins.getattr"),
        (pickle.dumps(Calls(np.ndarray, (1,), "O", bytearray(8))), "not callable"),
        (b"\x80\x04\x8c\x06pandas\x8c\x12DataFrame.__init__\x93.", "it holds pandas.DataFrame._"),
        (pickle.dumps({"score": 1}), "expected a pandas table, found dict"),
        (pickle.dumps(pd.DataFrame({"score": [1.0]})), "pred.pkl: the DataFrame has no column"),
        (pickle.dumps(pd.DataFrame({"score": [1.0]}))[:-9], "not a pickled table"),
        (b"PAR1", "not a pickled table"),
        (b"", "not a pickled table"),
    ],
)
def test_what_is_no_pickled_table_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "pred.pkl"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        convert_scores(file, tmp_path / "scores.parquet")
    assert [*tmp_path.iterdir()] == [file]
    with pytest.raises(InputError, match="out must be a .parquet file, got"):
        convert_scores(file, tmp_path / "scores.csv")
