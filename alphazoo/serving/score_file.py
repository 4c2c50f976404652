"""The file of live scores, to which the daily command appends; monitoring reads it.

Each row is the score of a stock on a day by a version of a model. The scores of a day by a version
are written once: appending them again changes nothing, and other scores replace them only on
request.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from alphazoo.errors import InputError, shorten
from alphazoo.files import write_table
from alphazoo.runs.read import read_rows

DATE = "date"
SYMBOL = "symbol"
SCORE = "score"
VERSION = "version"  # NAME/3 of a registry, or a name that the user gave
CHECKPOINT = "checkpoint"  # digest of the checkpoint
SETTINGS = "settings"  # digest of the settings, as in provenance.json
DATA = "data"  # fingerprint of the data up to and including the day
COLUMNS = (DATE, SYMBOL, SCORE, VERSION, CHECKPOINT, SETTINGS, DATA)

ROUNDING = 1e-5  # scores that differ by no more are the same, computed on another machine
WAIT = 60  # seconds that an append waits for another one


@dataclass(frozen=True)
class Appended:
    """What an append did, in pairs of day and version.

    Attributes:
        added: Number of days that were new.
        kept: Number of days that the file had with the same scores; its rows are unchanged.
        replaced: Number of days whose scores were replaced.
    """

    added: int
    kept: int
    replaced: int


def read_score_file(file: Path) -> pd.DataFrame:
    """Read a file of scores.

    Returns:
        The columns `COLUMNS`, sorted by date, version and symbol. Of a file of an earlier version,
        the settings are unknown and empty.

    Raises:
        InputError: The file does not exist, is damaged, lacks a column, or has two scores of a
            stock for the same day and version.
    """
    if not file.is_file():
        raise InputError(f"no file {file}: alphazoo predict append={file} writes it")
    table = read_rows(file, [DATE, SYMBOL], [SCORE])
    missing = [name for name in (VERSION, CHECKPOINT, DATA) if name not in table]
    if missing:
        raise InputError(
            f"{file} lacks the columns {shorten(missing)}: expected a file to which alphazoo "
            "predict append= writes"
        )
    texts = [name for name in COLUMNS if name not in (DATE, SYMBOL, SCORE)]
    table = table.assign(**{SETTINGS: table.get(SETTINGS, "")})[[*COLUMNS]]
    table[texts] = table[texts].astype("str")
    _check_unique(table, str(file))
    return table


def append_scores(file: Path, scores: pd.DataFrame, *, rewrite: bool = False) -> Appended:
    """Add scores to a file, which is replaced in one step; create it if it does not exist.

    Args:
        file: A ``.parquet`` file.
        scores: The columns `COLUMNS`.
        rewrite: Replace the scores of days that the file has with other scores.

    Raises:
        InputError: The file has other scores for the same day and version, it is damaged, or
            another process has been writing to it for `WAIT` seconds.
    """
    check_name(file)
    scores = scores[[*COLUMNS]]
    _check_unique(scores, "the scores to append")
    file.parent.mkdir(parents=True, exist_ok=True)
    with _locked(file):
        known = read_score_file(file) if file.is_file() else scores[:0]
        old, new = (dict([*table.groupby([DATE, VERSION])]) for table in (known, scores))
        differ = [key for key in new if key in old and not _same(old[key], new[key])]
        if differ and not rewrite:
            day, version = differ[0]
            raise InputError(
                f"{file} has other scores of version {version!r} for {day:%Y-%m-%d}"
                f"{_others(len(differ))}: {_explain(old[differ[0]], new[differ[0]])}; rewrite=true "
                "replaces them, version=NAME keeps both"
            )
        added = [key for key in new if key not in old]
        if added or differ:
            kept = [table for key, table in old.items() if key not in differ]
            rows = pd.concat([*kept, *(new[key] for key in (*added, *differ))])
            write_table(rows.sort_values([DATE, VERSION, SYMBOL], kind="stable"), file)
    return Appended(len(added), len(new) - len(added) - len(differ), len(differ))


def check_name(file: Path) -> None:
    """Raise an `InputError` unless a file of scores may have this name."""
    if file.suffix != ".parquet":
        raise InputError(f"append={file}: expected a .parquet file")


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    lock = FileLock(file.with_name(f".{file.name}.lock"), timeout=WAIT)
    try:
        with lock:
            yield
    except Timeout as error:
        raise InputError(f"{file} is in use: another process appends to it") from error


def _check_unique(table: pd.DataFrame, source: str) -> None:
    twice = table[table.duplicated([DATE, VERSION, SYMBOL])]
    if len(twice):
        row = twice.iloc[0]
        raise InputError(
            f"{source}: {row[SYMBOL]} has two scores of version {row[VERSION]!r} for "
            f"{row[DATE]:%Y-%m-%d}"
        )


def _same(old: pd.DataFrame, new: pd.DataFrame) -> bool:
    a, b = (table.set_index(SYMBOL)[SCORE] for table in (old, new))
    if set(a.index) != set(b.index):
        return False
    return bool(np.allclose(a, b.reindex(a.index), rtol=ROUNDING, atol=ROUNDING))


def _explain(old: pd.DataFrame, new: pd.DataFrame) -> str:
    """Describe in which way the scores of a day differ."""
    texts = {CHECKPOINT: "another checkpoint", SETTINGS: "other settings", DATA: "other data"}
    faults = [text for name, text in texts.items() if {*old[name]} != {*new[name]}]
    if changed := sorted({*old[SYMBOL]} ^ {*new[SYMBOL]}):
        return ", ".join([*faults, f"other stocks ({shorten(changed)})"])
    joined = old.merge(new, on=SYMBOL)
    largest = (joined[f"{SCORE}_x"] - joined[f"{SCORE}_y"]).abs().max()
    return ", ".join([*faults, f"scores differ by up to {largest:.3g}"])


def _others(count: int) -> str:
    return f" and {count - 1} more days" if count > 1 else ""
