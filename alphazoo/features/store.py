"""A store of feature panels, which are computed once and memory-mapped by every process.

An entry is a folder with ``panel.f32``, float32 [F, D, S], and ``meta.json``, which holds a
checksum of the market data of every day. If a new market agrees with the entry on the first days,
these days are reused, and only later days are computed. An entry is bit-identical whether its days
are computed at once or in several steps. Its key is a digest of the columns, the code that computes
them, this module, the version of torch, the symbols, the names of the fields and the start of the
history.
"""

import hashlib
import json
import logging
import math
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from alphazoo.errors import InputError
from alphazoo.files import write_atomically, write_text
from alphazoo.market.market import Market

log = logging.getLogger(__name__)

START = 60  # number of first days in the key, to distinguish markets with the same symbols

BUFFER = 2**26  # number of values computed at a time; larger blocks write to each page less often

ATTEMPTS = 3  # somebody may empty the cache at any moment

# Computes the features of the last d days from fields [D, s] of some stocks, into a tensor
# [F, d, s]. On days before the lookback, a feature may depend only on whether a stock had a value;
# see `_recent`.
Compute = Callable[[Mapping[str, Tensor], Tensor], None]


def stored_panel(
    folder: str | Path,
    market: Market,
    *,
    name: str,
    columns: Sequence[str],
    code: Sequence[str | Path],
    lookback: int,
    compute: Compute,
) -> Tensor:
    """Return the features of a market, and compute and store those that are not stored yet.

    Concurrent processes wait for the first one; all share the memory of the file.

    Args:
        folder: The folder of all entries; created if missing.
        market: The market from which the features are computed.
        name: Name of the feature set.
        columns: [F], names of the features.
        code: Source files of the computation; if their text changes, there is a new entry.
        lookback: Number of earlier days that the features of a day depend on.
        compute: Computes the features of the last days for a block of stocks.

    Returns:
        [F, D, S] float32; writing to it does not change the file.

    Raises:
        InputError: The folder is not writable, or the disk is full.
    """
    days = _checksums(market)
    key = {
        "columns": [*columns],
        "code": [zlib.crc32(Path(file).read_bytes()) for file in (__file__, *code)],
        "torch": torch.__version__,
        "symbols": market.symbols,
        "fields": sorted(market.fields),
        "start": [f"{market.dates[0]:%Y-%m-%d}", *days[:START]],
    }
    digest = hashlib.blake2b(json.dumps(key).encode(), digest_size=8).hexdigest()
    entry = Path(folder).expanduser() / f"{name}-{digest}"
    shape = (len(columns), *market.members.shape)

    def find() -> Tensor:
        entry.mkdir(parents=True, exist_ok=True)
        with FileLock(entry / "lock"):
            old = _read(entry, shape)
            known = 0 if old is None else _common(old["days"], days)
            if old is None or known < len(days):
                old = _write(entry, market, shape, old, known, days, lookback, compute)
            return _map(entry / "panel.f32", old["shape"])

    for left in reversed(range(ATTEMPTS)):
        try:
            return find()[:, : shape[1]]
        except OSError as error:
            if not left or not isinstance(error, FileNotFoundError):
                raise InputError(f"cannot store features in {folder}: {error}") from error
            log.warning("%s was deleted in the meantime: its features are computed again", entry)
    raise AssertionError  # unreachable: the last attempt returns or raises


def _checksums(market: Market) -> list[int]:
    """Return a checksum over all fields for each day, [D]."""
    sums = [0] * len(market.dates)
    for field in sorted(market.fields):
        rows = market.fields[field].numpy()
        sums = [zlib.crc32(row.tobytes(), before) for row, before in zip(rows, sums, strict=True)]
    return sums


def _common(old: Sequence[int], new: Sequence[int]) -> int:
    """Return the number of first days that have the same checksums."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))


def _read(entry: Path, shape: tuple[int, int, int]) -> dict[str, Any] | None:
    """Read the metadata of an entry; None if it does not exist or is damaged.

    Args:
        entry: The folder.
        shape: That of the wanted panel, [F, D, S]; an entry may have another number of days.
    """
    panel, meta = entry / "panel.f32", entry / "meta.json"
    if not (panel.exists() and meta.exists()):
        return None
    try:
        found: dict[str, Any] = json.loads(meta.read_text(encoding="utf-8"))
        wanted = [shape[0], len(found["days"]), shape[2]]
        complete = found["shape"] == wanted and panel.stat().st_size == 4 * math.prod(wanted)
        if complete and _panel_checksum(_map(panel, wanted)) == found["checksum"]:
            return found
    except (KeyError, TypeError, ValueError):
        pass
    log.warning("%s is damaged, its features are computed again", entry)
    return None


def _write(
    entry: Path,
    market: Market,
    shape: tuple[int, int, int],
    old: Mapping[str, Any] | None,
    known: int,
    days: Sequence[int],
    lookback: int,
    compute: Compute,
) -> dict[str, Any]:
    """Compute the unknown days, and replace the entry by one with the known and the new days."""
    n_bytes = 4 * math.prod(shape)
    log.info(
        "computing %d features of %d stocks on %d of %d days, stored in %s (%.2g GB)",
        shape[0],
        shape[2],
        len(days) - known,
        len(days),
        entry,
        n_bytes / 1e9,
    )
    fields = {name: _recent(field, known - lookback) for name, field in market.fields.items()}
    with write_atomically(entry / "panel.f32") as beside:
        with beside.open("wb") as file:
            file.truncate(n_bytes)
            if hasattr(os, "posix_fallocate"):  # raises if the disk is full; writing would crash
                os.posix_fallocate(file.fileno(), 0, n_bytes)
        panel = _map(beside, shape, shared=True)
        if old is not None and known:
            panel[:, :known] = _map(entry / "panel.f32", old["shape"])[:, :known]
        width = max(1, BUFFER // (shape[0] * (shape[1] - known)))
        for first in range(0, shape[2], width):
            stocks = slice(first, first + width)
            block = {name: field[:, stocks] for name, field in fields.items()}
            values = panel.new_empty(shape[0], shape[1] - known, len(market.symbols[stocks]))
            compute(block, values)
            panel[:, known:, stocks] = values
        checksum = _panel_checksum(panel)
        (entry / "meta.json").unlink(missing_ok=True)  # it describes the old panel
    meta = {"shape": shape, "checksum": checksum, "days": days}
    write_text(entry / "meta.json", json.dumps(meta))
    return meta


def _recent(field: Tensor, row: int) -> Tensor:
    """Return the days from a row on, after a row that marks stocks with earlier values by 1.

    Without it, a stock that is suspended for longer than the lookback would look unlisted.
    """
    if row <= 0:
        return field
    listed = field[:row].isfinite().any(dim=0, keepdim=True)
    return torch.cat([torch.where(listed, 1.0, torch.nan), field[row:]])


def _map(file: Path, shape: Sequence[int], *, shared: bool = False) -> Tensor:
    size = math.prod(shape)
    try:
        panel = torch.from_file(str(file), shared=shared, size=size, dtype=torch.float32)
    except RuntimeError as error:
        raise FileNotFoundError(f"cannot map {file}: {error}") from error
    return panel.view(*shape)


def _panel_checksum(panel: Tensor) -> int:
    checksum = 0
    for feature in panel.numpy():
        checksum = zlib.crc32(feature, checksum)
    return checksum
