"""Rows of a CSV file, each with as many fields as the header.

Arrow reads the file and compares every row with the header, which pandas does not do where a
subset of the columns is wanted. A row that does not fit, or a damaged quote, is then searched for
with Python's csv module, which knows its line.
"""

import codecs
import csv
import gzip
import io
import logging
import mmap
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv

from alphazoo.errors import InputError

log = logging.getLogger(__name__)

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")

CHUNK = 1 << 24  # bytes that are checked at once
SEPARATORS = ";\t|"  # of tables that are no CSV by our reading; a comma may be a decimal in them
OTHERS = {  # how files start that are no text
    b"\xff\xfe": "is UTF-16: save it as UTF-8",
    b"\xfe\xff": "is UTF-16: save it as UTF-8",
    b"\x1f\x8b": "is compressed: call it .csv.gz",
    b"PK": "is a workbook or an archive: save it as CSV",
    b"PAR1": "is a Parquet file: call it .parquet",
}

Content = bytes | mmap.mmap


def read_header(file: Path) -> list[str]:
    """Names of the columns.

    Raises:
        InputError: The file is empty or damaged, or another character separates its fields.
    """
    for _, names in _rows(file):
        if not "".join(names).isprintable():
            _scan(file, _content(file))
        found = [mark for mark in SEPARATORS if mark in names[0]]
        if len(names) == 1 and found:
            raise InputError(
                f"{file}: its header is one field, {names[0]!r}: separate fields by commas instead "
                f"of {found[0]!r}, and write decimals with a point"
            )
        return names
    raise InputError(f"{file} is empty")


def read_csv(file: Path, wanted: Sequence[str], numbers: Collection[str]) -> pd.DataFrame:
    """Read some columns of a file.

    Args:
        file: UTF-8, with commas between fields; ``.gz`` is decompressed.
        wanted: Names of the columns.
        numbers: Those of them that hold numbers; the others are text.

    Returns:
        Numbers as float64, NaN where a value is one of `MISSING`; text as categories, which keep
        such a value as it is. If a value is no number, every column is text.

    Raises:
        InputError: The file is damaged; see `_check_rows`.
    """
    content = _content(file)
    quoted = _scan(file, content)
    if quoted:  # Arrow accepts text after a closing quote, and so may lose a row inside a field
        _check_rows(file)
    try:
        return _parse(content, wanted, numbers, quoted=quoted)
    except pa.ArrowInvalid:
        _check_rows(file)
    try:  # every row fits, so that a value is no number
        return _parse(content, wanted, (), quoted=quoted)
    except pa.ArrowInvalid as error:
        raise InputError(f"cannot read {file}: {error}") from error


def line_of(file: Path, row: int) -> int:
    """Line in the file, from 1, of a row of the table, from 0."""
    rows = _rows(file)
    next(rows)  # the header
    return next(line for index, (line, _) in enumerate(rows) if index == row)


def _parse(
    content: Content, wanted: Sequence[str], numbers: Collection[str], *, quoted: bool
) -> pd.DataFrame:
    text = pa.dictionary(pa.int32(), pa.string())
    table = arrow_csv.read_csv(
        pa.BufferReader(pa.py_buffer(content)),
        parse_options=arrow_csv.ParseOptions(
            newlines_in_values=quoted,
            invalid_row_handler=lambda row: "error" if row.text.strip() else "skip",
        ),
        convert_options=arrow_csv.ConvertOptions(
            include_columns=list(wanted),
            column_types={name: pa.float64() if name in numbers else text for name in wanted},
            null_values=list(MISSING),
            strings_can_be_null=False,
        ),
    )
    frame: pd.DataFrame = table.to_pandas(split_blocks=True)
    return frame


def _content(file: Path) -> Content:
    with _damage(file):
        if file.suffix == ".gz":
            return gzip.decompress(file.read_bytes())
        with file.open("rb") as stream:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _scan(file: Path, content: Content) -> bool:
    """Whether there is a quote; refuses NUL bytes and what is not UTF-8."""
    for mark, kind in OTHERS.items():
        if content[: len(mark)] == mark:
            raise InputError(f"{file} {kind}")
    quoted = False
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(content), CHUNK):
        chunk = content[start : start + CHUNK]
        quoted |= b'"' in chunk
        fault, at = "", 0
        if b"\0" in chunk:
            fault, at = "a NUL byte, which no text has", chunk.index(b"\0")
        try:
            decoder.decode(chunk, final=start + CHUNK >= len(content))
        except UnicodeDecodeError as error:
            fault, at = f"{error.object[error.start : error.end]!r} is not UTF-8", error.start
        if fault:
            line = 1 + _newlines(content, start) + chunk[:at].count(b"\n")
            raise InputError(f"{file}, line {line}: {fault}")
    if content[-1:] not in (b"\n", b"\r"):
        log.warning("%s ends without a line end: is its last row whole?", file)
    return quoted


def _newlines(content: Content, stop: int) -> int:
    return sum(content[start : start + CHUNK].count(b"\n") for start in range(0, stop, CHUNK))


def _check_rows(file: Path) -> None:
    """Refuse a row with other fields than the header, a damaged quote, and a file without rows."""
    rows = _rows(file)
    _, header = next(rows)
    index = -1
    for index, (line, fields) in enumerate(rows):
        if len(fields) != len(header):
            raise InputError(
                f"{file}, row {index + 1} (line {line}) has {len(fields)} fields, the header has "
                f"{len(header)}: {','.join(fields)[:80]!r}"
            )
    if index < 0:
        raise InputError(f"{file} has no rows")


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """First line, from 1, and fields of every row that is not blank, the header among them."""
    with _damage(file), _text(file) as stream:
        reader = csv.reader(stream, strict=True)
        line = 1
        try:
            for fields in reader:
                if len(fields) > 1 or "".join(fields).strip():
                    yield line, fields
                line = reader.line_num + 1
        except csv.Error as error:
            fault = "a quote opens and does not close"
            if "expected after" in str(error):
                fault = "text follows a closing quote"
            raise InputError(f"{file}, line {line}: {fault}") from error


def _text(file: Path) -> io.TextIOWrapper:
    binary: Any = (gzip.open if file.suffix == ".gz" else open)(file, "rb")
    # bytes that are no UTF-8 are refused elsewhere, with their line
    return io.TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline="")


@contextmanager
def _damage(file: Path) -> Iterator[None]:
    """Name the file in errors of gzip."""
    try:
        yield
    except EOFError as error:
        raise InputError(f"cannot read {file}: it ends too early") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"cannot read {file}: it is no gzip file, or damaged: {error}") from error
