"""Rows of CSV files: all of them are read, or the damage is named with its line."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conftest import small_frame

from alphazoo.data.csv_rows import read_csv, read_header
from alphazoo.data.market import Market
from alphazoo.errors import InputError

TEXT = small_frame(n_days=5, n_stocks=3).drop(columns="adjusted_close").to_csv(index=False)
LINES = TEXT.splitlines()


def change(line: int, new: Callable[[str], str]) -> bytes:
    """The table with another text in one line, counted from 1."""
    lines = [new(text) if number == line else text for number, text in enumerate(LINES, start=1)]
    return ("\n".join(lines) + "\n").encode()


def read(content: bytes, folder: Path, name: str = "prices.csv") -> Market:
    file = folder / name
    file.write_bytes(content)
    return Market.from_table(file)


def every(new: Callable[[str], str], header: str) -> bytes:
    return "".join(f"{new(x) if i else x + header}\n" for i, x in enumerate(LINES)).encode()


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode("utf-8-sig"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\n\n  \n").encode(),
        pd.read_csv(pd.io.common.StringIO(TEXT)).to_csv(index=False, quoting=1).encode(),
        pd.read_csv(pd.io.common.StringIO(TEXT)).to_csv().encode(),
        every(lambda line: line + ',"Foo, Inc.\nsaid ""no"""', ",name"),
        every(lambda line: line + ",x,x", ",name,name"),
    ],
    ids=["BOM", "CRLF", "blank", "quoted", "index", "newline", "unused twice"],
)
def test_what_is_no_damage_changes_nothing(content: bytes, tmp_path: Path) -> None:
    plain = read(TEXT.encode(), tmp_path)
    found = read(content, tmp_path)
    assert found.dates.equals(plain.dates)
    assert found.symbols == plain.symbols
    for name, panel in plain.fields.items():
        assert found.fields[name].equal(panel), name
    zipped = read(gzip.compress(content), tmp_path, "prices.csv.gz")
    assert zipped.fields["close"].equal(plain.fields["close"])


def test_numbers_are_those_of_pandas(tmp_path: Path) -> None:
    file = tmp_path / "numbers.csv"
    file.write_text("symbol,x,y\nNA,1e-3, 2 \n000001,NaN,-inf\nB,,1\n")
    found = read_csv(file, ["x", "symbol", "y"], ["x", "y"])
    assert found["symbol"].astype(str).tolist() == ["NA", "000001", "B"]
    expected = pd.read_csv(file)[["x", "y"]]
    pd.testing.assert_frame_equal(found[["x", "y"]], expected, check_dtype=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (change(3, lambda x: x + ",1"), r"row 2 \(line 3\) has 8 fields, the header has 7: '2015"),
        (change(3, lambda x: x + ","), r"row 2 \(line 3\) has 8 fields"),
        (change(3, lambda x: x.rpartition(",")[0]), r"row 2 \(line 3\) has 6 fields"),
        (every(lambda x: x + ",", ""), r"row 1 \(line 2\) has 8 fields"),
        (TEXT[:-80].encode(), r"row 15 \(line 16\) has 3 fields"),
        (("\n" + TEXT).encode() + b"Total,,\n", r"row 16 \(line 18\) has 3 fields"),
        (change(3, lambda x: '"' + x), "line 3: a quote opens and does not close"),
        (TEXT.encode() + b'"' + b"x" * 200_000, "line 17: a quote opens and does not close"),
        (
            every(lambda x: x + ',"Foo Inc', ",name"),  # closes in the next row, which is lost
            "line 2: text follows a closing quote",
        ),
        (change(4, lambda x: x.replace("ST2", "S\0T2")), "line 4: a NUL byte"),
        (every(lambda x: x + ",中国", ",name").decode().encode("gbk"), r"line 2: .* is not UTF-8"),
        (TEXT.encode("utf-16"), "is UTF-16: save it as UTF-8"),
        (TEXT.replace(",", ";").encode(), "header is one field, .*commas instead of ';'"),
        (TEXT.replace("symbol,open,", "symbol,open,open,", 1).encode(), "has 2 columns 'open'"),
        (b"", "prices.csv is empty"),
        ((LINES[0] + "\n").encode(), "prices.csv has no rows"),
        (LINES[0].encode(), "prices.csv has no rows"),
        (gzip.compress(TEXT.encode()), "prices.csv is compressed: call it .csv.gz"),
        (b"PAR1" + b"\0" * 99, "prices.csv is a Parquet file"),
        (
            change(5, lambda x: x.rpartition(",")[0] + ',"1,029.90"'),
            r"column 'volume', row 4 \(line 5\) \(ST0 on 2015-01-02\): '1,029.90' is not a number$",
        ),
        (TEXT.encode() * 2, r"column 'date', row 16 \(line 17\): 'date' is not a date"),
    ],
)
def test_damage_is_named_with_its_line(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as error:
        read(content, tmp_path)
    assert "prices.csv" in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(TEXT.encode())[:-30], "prices.csv.gz: it ends too early"),
        (gzip.compress(TEXT.encode())[:-8] + b"12345678", "it is no gzip file, or damaged: CRC"),
        (gzip.compress(TEXT.encode()) + b"more", "it is no gzip file, or damaged"),
        (TEXT.encode(), "prices.csv.gz: it is no gzip file"),
        (b"", "prices.csv.gz is empty"),
    ],
)
def test_damaged_archives_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read(content, tmp_path, "prices.csv.gz")


def test_a_number_that_is_none_is_named_with_column_symbol_and_date(tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    text = "\n" + TEXT.replace("open", "Open Price", 1)  # the first line is blank
    file.write_text(text.replace(LINES[5].split(",")[2], "--", 1))
    with pytest.raises(InputError) as error:
        Market.from_table(file, columns={"open": "Open Price"})
    place = "column 'Open Price', row 5 (line 7) (ST1 on 2015-01-02)"
    assert str(error.value) == f"{file}, {place}: '--' is not a number"


def test_a_file_without_a_last_line_end_is_read_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read(TEXT.encode(), tmp_path)
    assert not caplog.records
    read(TEXT.rstrip().encode(), tmp_path)
    assert "ends without a line end: is its last row whole?" in caplog.text


def test_a_header_keeps_its_names(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes('\ufeff"a, b",c,,名\n1,2,3,4\n'.encode())
    assert read_header(file) == ["a, b", "c", "", "名"]


def test_damaged_parquet_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "prices.parquet"
    small_frame().to_parquet(file)
    content = file.read_bytes()
    for damaged in (content[:-50], content[:300] + b"\xff" * 400 + content[700:], b"date,symbol\n"):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match="cannot read .*prices.parquet"):
            Market.from_table(file)
