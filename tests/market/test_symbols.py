"""Symbols: one text for a stock, however it is stored, in tables and in settings."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import Alphazoo, small_frame, write_qlib

from alphazoo.config import compose, instantiate
from alphazoo.data.labels import Label
from alphazoo.data.scores import join_returns, read_scores
from alphazoo.errors import InputError
from alphazoo.market.concept_sources import find_concepts
from alphazoo.market.concept_table import read_concepts
from alphazoo.market.market import Market
from alphazoo.market.symbols import find_symbols, parse_symbol, parse_text_setting
from alphazoo.models.checkpoint import read_checkpoint
from alphazoo.runs.provenance import fingerprint

NUMBERS = ["1", "10", "100", "2", "20", "3", "30", "4"]  # as text is sorted


def frame_of(symbols: list[str], n_days: int = 10) -> pd.DataFrame:
    """The small market with other symbols, in rows whose order is not that of the symbols."""
    frame = small_frame(n_days, len(symbols))
    names = dict(zip(frame["symbol"].unique(), symbols, strict=True))
    return frame.assign(symbol=frame["symbol"].map(names)).drop(columns="adjusted_close")


@pytest.fixture
def market() -> Market:
    return Market.from_table(frame_of(["600000", "000001", "300000", "AAPL"]))


STORED = {
    "integers": lambda x: x.astype(int),
    "floats": lambda x: x.astype(float),
    "Int64": lambda x: x.astype(int).astype("Int64"),
    "bytes": lambda x: x.str.encode("ascii"),
    "spaces": lambda x: "\ufeff" + x + " \xa0",
    "float text": lambda x: x + ".0",
    "categories": lambda x: pd.Categorical(x, categories=NUMBERS[::-1]),
    "integer categories": lambda x: x.astype(int).astype("category"),
    "objects": lambda x: x.astype(int).astype(object).where(x.index % 2 == 0, x),
    "arrow": lambda x: x.astype(pd.ArrowDtype(pa.string())),
    "dictionary": lambda x: x.astype(pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))),
    "binary": lambda x: x.str.encode("ascii").astype(pd.ArrowDtype(pa.binary())),
}


@pytest.mark.parametrize("kind", STORED)
def test_a_market_does_not_depend_on_how_symbols_are_stored(kind: str, tmp_path: Path) -> None:
    frame = frame_of(NUMBERS[::-1])
    stored = frame.assign(symbol=STORED[kind](frame["symbol"]))
    expected = Market.from_table(frame)
    assert expected.symbols == tuple(NUMBERS)
    found = Market.from_table(stored)
    assert found.symbols == expected.symbols
    assert fingerprint(found) == fingerprint(expected)
    if kind != "objects":  # a column of Parquet has one type
        file = tmp_path / "prices.parquet"
        stored.to_parquet(file)
        assert fingerprint(Market.from_table(file)) == fingerprint(expected)
    stored.assign(symbol=[parse_symbol(x) for x in stored["symbol"]]).to_csv(
        tmp_path / "prices.csv", index=False
    )
    assert Market.from_table(tmp_path / "prices.csv").symbols == expected.symbols


def test_values_that_are_symbols_are_text() -> None:
    values = [600000, np.int32(7), 5.0, np.float32(5), Decimal(5), b"\xc3\xa9 ", " NA\u200b", "1.0"]
    assert [*map(parse_symbol, values)] == ["600000", "7", "5", "5", "5", "é", "NA", "1"]
    assert [*map(parse_symbol, ["0700.HK", "BRK.B", "1.5", np.nan])] == [
        "0700.HK",
        "BRK.B",
        "1.5",
        "",
    ]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.5, "1.5 is not a symbol"),
        (True, "True is not a symbol"),
        (pd.Timestamp("2015-01-01"), "is not a symbol"),
        (np.inf, "inf is not a symbol"),
        (b"\xff", "can't decode byte"),
        ("A\nB", "contains control characters"),
        (None, "the symbol is missing"),
        ("  ", "the symbol is missing"),
    ],
)
def test_what_is_no_symbol_is_refused_with_its_row(value: object, message: str) -> None:
    frame = frame_of(["A", "B"])
    frame["symbol"] = frame["symbol"].astype(object).where(frame.index != 4, value)
    with pytest.raises(InputError, match=f"the DataFrame, column 'symbol', row 5: .*{message}"):
        Market.from_table(frame)


def test_spellings_of_a_symbol_are_one_stock(caplog: pytest.LogCaptureFixture) -> None:
    frame = frame_of(["AAA", "BBB"])
    written = frame["symbol"].where(frame["date"] < "2015-01-07", frame["symbol"].str.lower() + " ")
    market = Market.from_table(frame.assign(symbol=written))
    assert market.symbols == ("AAA", "BBB")
    assert fingerprint(market) == fingerprint(Market.from_table(frame))
    assert "2 symbols have several spellings: 'AAA' and 'aaa ' as AAA" in caplog.text
    both = pd.concat([frame, frame.assign(symbol=frame["symbol"].str.lower())])
    with pytest.raises(
        InputError, match="20 rows that repeat the date and symbol of another: .* AAA"
    ):
        Market.from_table(both)


def test_a_symbol_is_found_by_its_spelling_first() -> None:
    known = ["AAA", "Bb", "aaa", "ccc"]
    assert find_symbols(["aaa", "AAA", "bB", "CCC", "Aaa", "d"], known).tolist() == [
        *(2, 0, 1, 3),
        *(-1, -1),  # two differ from it in case alone; none does
    ]
    assert find_symbols(["a"], []).tolist() == [-1]
    assert find_symbols([], known).tolist() == []


def scores_of(symbols: list[object]) -> pd.DataFrame:
    dates = pd.bdate_range("2015-01-01", periods=3)
    score = np.arange(3.0 * len(symbols))
    symbol = np.array([*symbols] * 3, dtype=object)
    return pd.DataFrame({"date": dates.repeat(len(symbols)), "symbol": symbol, "score": score})


def test_scores_take_the_spelling_of_the_market(market: Market) -> None:
    label = Label(buy=1, sell=2, scale="rank")
    table = join_returns(read_scores(scores_of([600000, "aapl ", b"000001"])), market, label)
    assert table["symbol"].tolist() == ["600000", "AAPL", "000001"] * 3
    close = market.field("close")
    expected = float(close[2, 3] / close[1, 3] - 1)
    assert table["return"].iloc[1] == pytest.approx(expected)


def test_scores_whose_symbols_lost_their_zeros_are_refused(
    market: Market, caplog: pytest.LogCaptureFixture
) -> None:
    label = Label(buy=1, sell=2, scale="rank")
    scores = read_scores(scores_of([600000, 1, 300000, 9]))
    with pytest.raises(
        InputError, match="2 symbols .* lacks: 1, 9; 1 is 000001 without its leading zeros"
    ):
        join_returns(scores, market, label)
    assert len(join_returns(scores, market, label, drop_unknown=True)) == 6
    assert "6 of 12 scores are not in market" in caplog.text
    assert "2 symbols that market 'the DataFrame' lacks: 1, 9" in caplog.text


def test_concepts_are_matched_like_scores(market: Market, caplog: pytest.LogCaptureFixture) -> None:
    table = pd.DataFrame({"symbol": [600000.0, 300000.0], "concept": [10.0, np.nan]})
    found = read_concepts(market, [], table=table)
    assert (found.names, found.stocks.tolist()) == (("10",), [2])
    assert "not in market" not in caplog.text
    mixed = pd.DataFrame({"symbol": ["aapl", "1", "X"], "concept": "a"})
    assert read_concepts(market, [], table=mixed).stocks.tolist() == [3]
    assert (
        "2 of 3 symbols are not in market 'the DataFrame', and are skipped: 1, X; 1 is"
        in caplog.text
    )
    with pytest.raises(InputError, match="none of its symbols .*: 1; 1 is 000001 without"):
        read_concepts(market, [], table=mixed[1:2])


# settings


@pytest.mark.parametrize(
    ("benchmark", "symbol"), [(600000, "600000"), ("aapl ", "AAPL"), ("000001", "000001")]
)
def test_a_benchmark_is_a_symbol(benchmark: object, symbol: str) -> None:
    frame = frame_of(["600000", "000001", "300000", "AAPL"])
    found = Market.from_table(frame, benchmark=benchmark, indices=[300000])
    column = found.symbols.index(symbol)
    assert found.benchmark is not None
    assert found.benchmark.equal(found.fields["close"][:, column])
    assert not found.members[:, [column, found.symbols.index("300000")]].any()
    assert [*found.indices] == ["300000"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"benchmark": 1}, "no rows of '1' .data.benchmark.; 1 is 000001 without its leading"),
        (
            {"benchmark": True},
            "data.benchmark must be text, but was parsed as True: put it in quotes",
        ),
        ({"benchmark": 1e5}, "data.benchmark must be text, but was parsed as 100000.0"),
        ({"indices": [9]}, "no rows of '9' .data.indices."),
        ({"indices": ["AAPL", "aapl"]}, "must not have duplicate symbols"),
        ({"columns": {"volume": 7}}, "no column '7' for volume"),
        ({"columns": {"volume": 7.5}}, "data.columns.volume must be text, but was parsed as 7.5"),
    ],
)
def test_settings_that_are_no_text_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Market.from_table(frame_of(["600000", "000001", "300000", "AAPL"]), **options)


def test_numbers_of_the_command_line_are_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hydra makes integers of what looks like one, and leaves leading zeros."""
    monkeypatch.chdir(tmp_path)
    frame = frame_of(["399300", "000300", "600000"])
    folder = write_qlib(tmp_path / "20260101", frame)
    (folder / "instruments" / "300.txt").write_text("399300\t2015-01-01\t2015-12-31\n")
    config = compose(
        "data=qlib", "data.path=20260101", "data.universe=300", "data.benchmark=000300"
    )
    found = instantiate(config.data.market)()
    assert (found.name, found.symbols) == ("20260101/300", ("399300",))
    assert found.benchmark is not None
    prices = frame.rename(columns={"volume": "7"}).assign(adjusted_close=frame["close"])
    prices.to_csv("p.csv", index=False)
    config = compose(
        *("data=table", "data.path=p.csv", "data.benchmark=399300", "data.columns.volume=7"),
        "data.indices=[000300]",
    )
    found = instantiate(config.data.market)()
    assert found.members.any(dim=0).tolist() == [False, False, True]
    for read in (
        lambda: Market.from_table(2026),  # type: ignore[arg-type]
        lambda: find_concepts(2026, found, []),  # type: ignore[arg-type]
        lambda: read_checkpoint(2026),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError, match="no file 2026"):
            read()


def test_data_check_takes_a_benchmark_of_digits(alphazoo: Alphazoo, tmp_path: Path) -> None:
    frame_of(["600000", "399300"]).to_csv(tmp_path / "cn.csv", index=False)
    found = alphazoo(
        *("data", "check", "data=table", "data.path=cn.csv", "data.benchmark=399300"),
        "data.columns.adjusted_close=null",
    )
    assert (found.code, found.err) == (0, "")


def test_setting_text_keeps_text() -> None:
    assert [parse_text_setting(x, "data.benchmark") for x in ("000300", 399300, " A ")] == [
        *("000300", "399300", "A")
    ]


# tables in memory


def test_arrow_tables_and_levels_of_an_index_are_read() -> None:
    frame = frame_of(["A", "B", "C"])
    expected = fingerprint(Market.from_table(frame))
    assert fingerprint(Market.from_table(pa.Table.from_pandas(frame))) == expected
    assert fingerprint(Market.from_table(frame.set_index(["date", "symbol"]))) == expected
    for other in (frame["close"], {"close": 1}, None):
        with pytest.raises(InputError, match="expected a file, a DataFrame or an Arrow table, got"):
            Market.from_table(other)  # type: ignore[arg-type]
    scores = scores_of(["A", "B"]).set_index(["date", "symbol"])["score"]
    assert len(read_scores(scores)) == 6
    assert len(read_scores(scores.rename("factor"))) == 6


def test_folders_of_qlib_may_be_upper_case(tmp_path: Path) -> None:
    folder = write_qlib(tmp_path / "qlib", small_frame(n_days=10))
    expected = Market.from_qlib(folder, universe="all", benchmark="st1", indices=["ST2"])
    for stock in [*(folder / "features").iterdir()]:
        stock.rename(stock.with_name(stock.name.upper()))
    found = Market.from_qlib(folder, universe="all", benchmark="st1", indices=["ST2"])
    assert fingerprint(found) == fingerprint(expected)


def test_every_bad_price_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    frame = frame_of(["A", "B", "C"], n_days=20)
    frame.loc[frame.index % 3 == 0, ["open", "high", "low"]] = 0.0
    Market.from_table(frame)
    assert "has 60 non-positive or infinite values" in caplog.text
    assert "open 0.0 of A on 2015-01-07 and 55 more)" in caplog.text
