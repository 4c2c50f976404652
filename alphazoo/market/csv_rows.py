"""Reads CSV files, and rejects rows whose number of fields differs from the header's.

Arrow parses the file and compares every row with the header; pandas does not do so when it reads a
subset of the columns. If Arrow rejects the file, Python's csv module, which knows line numbers,
finds the row at fault.
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

CHUNK = 1 << 24  # bytes checked at a time
SEPARATORS = ";\t|"  # unsupported: files that use them may have commas in decimal numbers
SIGNATURES = {  # first bytes of files that are not UTF-8 text
    b"\xff\xfe": "is UTF-16: save it as UTF-8",
    b"\xfe\xff": "is UTF-16: save it as UTF-8",
    b"\x1f\x8b": "is compressed: rename it to .csv.gz",
    b"PK": "is a workbook or an archive: save it as CSV",
    b"PAR1": "is a Parquet file: rename it to .parquet",
}

Content = bytes | mmap.mmap


def read_header(file: Path) -> list[str]:
    """Return the names of the columns.

    Raises:
        InputError: The file is empty or damaged, or its fields are not separated by commas.
    """
    for _, names in _rows(file):
        if not "".join(names).isprintable():
            _scan(file, _content(file))
        found = [mark for mark in SEPARATORS if mark in names[0]]
        if len(names) == 1 and found:
            raise InputError(
                f"{file}: the header is a single field, {names[0]!r}: separate fields by commas "
                f"instead of {found[0]!r}, and write decimals with a point"
            )
        return names
    raise InputError(f"{file} is empty")


def read_csv(file: Path, wanted: Sequence[str], numbers: Collection[str]) -> pd.DataFrame:
    """Read some columns of a file.

    Args:
        file: UTF-8 text with fields separated by commas; ``.gz`` is decompressed.
        wanted: Names of the columns to read.
        numbers: Names of those that hold numbers; the others are text.

    Returns:
        Numbers as float64, with NaN for values in `MISSING`; text as categories, which keep such
        values as text. If a value is not a number, all columns are text.

    Raises:
        InputError: The file is damaged; see `_check_rows`.
    """
    content = _content(file)
    quoted = _scan(file, content)
    if quoted:  # Arrow accepts text after a closing quote, and may then read rows as one field
        _check_rows(file)
    try:
        return _parse(content, wanted, numbers, quoted=quoted)
    except pa.ArrowInvalid:
        _check_rows(file)
    try:  # every row has the right number of fields, so some value is not a number
        return _parse(content, wanted, (), quoted=quoted)
    except pa.ArrowInvalid as error:
        raise InputError(f"cannot read {file}: {' '.join(str(error).split())}") from error


def line_of(file: Path, row: int) -> int:
    """Return the line in the file, counted from 1, of a row of the table, counted from 0."""
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
    """Return whether the file has quotes; reject NUL bytes and bytes that are not UTF-8."""
    for signature, fault in SIGNATURES.items():
        if content[: len(signature)] == signature:
            raise InputError(f"{file} {fault}")
    quoted = False
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(content), CHUNK):
        chunk = content[start : start + CHUNK]
        quoted |= b'"' in chunk
        fault, at = "", 0
        if b"\0" in chunk:
            fault, at = "a NUL byte, which is not text", chunk.index(b"\0")
        try:
            decoder.decode(chunk, final=start + CHUNK >= len(content))
        except UnicodeDecodeError as error:
            fault, at = f"{error.object[error.start : error.end]!r} is not UTF-8", error.start
        if fault:
            line = 1 + _newlines(content, start) + chunk[:at].count(b"\n")
            raise InputError(f"{file}, line {line}: {fault}")
    if content[-1:] not in (b"\n", b"\r"):
        log.warning("%s ends without a newline: is its last row complete?", file)
    return quoted


def _newlines(content: Content, stop: int) -> int:
    return sum(content[start : start + CHUNK].count(b"\n") for start in range(0, stop, CHUNK))


def _check_rows(file: Path) -> None:
    """Reject rows whose number of fields differs from the header's, bad quotes, and no rows."""
    rows = _rows(file)
    _, header = next(rows)
    index = -1
    for index, (line, fields) in enumerate(rows):
        if len(fields) != len(header):
            raise InputError(
                f"{file}, row {index + 1} (line {line}) has {len(fields)} fields, but the header "
                f"has {len(header)}: {','.join(fields)[:80]!r}"
            )
    if index < 0:
        raise InputError(f"{file} has no rows")


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line, counted from 1, and the fields of each row, including the header.

    Blank rows are skipped.
    """
    with _damage(file), _text(file) as stream:
        reader = csv.reader(stream, strict=True)
        line = 1
        try:
            for fields in reader:
                if len(fields) > 1 or "".join(fields).strip():
                    yield line, fields
                line = reader.line_num + 1
        except csv.Error as error:
            fault = "a quote is not closed"
            if "expected after" in str(error):
                fault = "text follows a closing quote"
            raise InputError(f"{file}, line {line}: {fault}") from error


def _text(file: Path) -> io.TextIOWrapper:
    binary: Any = (gzip.open if file.suffix == ".gz" else open)(file, "rb")
    # _scan rejects bytes that are not UTF-8, and reports their line
    return io.TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline="")


@contextmanager
def _damage(file: Path) -> Iterator[None]:
    """Raise errors of gzip as an `InputError` that names the file."""
    try:
        yield
    except EOFError as error:
        raise InputError(f"cannot read {file}: it is truncated") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"cannot read {file}: it is damaged or not a gzip file: {error}"
        ) from error
