"""Store: panels of features, computed once and mapped into the memory of every process.

An entry is a folder with ``panel.f32``, float32 [F, D, S], and ``meta.json``, which says what it
was computed from: a checksum of every day of the market. What a new market has in common with it,
from the first day on, is kept; only later days are computed, from the days that they depend on. An
entry has the same bits whether its days were computed at once or in any number of steps. Its key is
a digest of the columns, the code that computes them, this module, the version of torch, the
symbols, the names of the fields and the start of the history.
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

from alphazoo.data.market import Market
from alphazoo.errors import InputError
from alphazoo.files import replacing

log = logging.getLogger(__name__)

START = 60  # days of the history that tell one market from another with the same symbols

BUFFER = 2**26  # values computed at a time: a page of the file is written to a few times, not often

# fills [F, d, s] with the features of the last d days of fields [D, s] of some stocks; beyond its
# lookback a feature may depend only on whether a stock had a value, see `_recent`
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
    """The features of a market, computed where they are not stored yet.

    Processes that ask at the same time wait for the first one; all share the pages of the file.

    Args:
        folder: Where entries are; made when missing.
        market: The panels that the features are computed from.
        name: Of the feature set.
        columns: [F], its columns.
        code: Files of the code that computes them: another text is another entry.
        lookback: Days before a day whose values its features depend on.
        compute: Does it for the last days of a history of some of the stocks.

    Returns:
        [F, D, S] float32; writing to it does not change the file.

    Raises:
        InputError: The folder cannot be written to, or has no room.
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
    try:
        entry.mkdir(parents=True, exist_ok=True)
        with FileLock(entry / "lock"):
            old = _read(entry)
            known = 0 if old is None else _common(old["days"], days)
            if old is None or known < len(days):
                old = _write(entry, market, shape, old, known, days, lookback, compute)
            panel = _map(entry / "panel.f32", old["shape"])
    except OSError as error:
        raise InputError(f"cannot store features in {folder}: {error}") from error
    return panel[:, : shape[1]]


def _checksums(market: Market) -> list[int]:
    """One number per day, of all fields: [D]."""
    sums = [0] * len(market.dates)
    for field in sorted(market.fields):
        rows = market.fields[field].numpy()
        sums = [zlib.crc32(row.tobytes(), before) for row, before in zip(rows, sums, strict=True)]
    return sums


def _common(old: Sequence[int], new: Sequence[int]) -> int:
    """How many days from the first on are the same."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))


def _read(entry: Path) -> dict[str, Any] | None:
    """What the entry says of itself, or None where there is none or it is damaged."""
    panel, meta = entry / "panel.f32", entry / "meta.json"
    if not (panel.exists() and meta.exists()):
        return None
    try:
        found: dict[str, Any] = json.loads(meta.read_text())
        whole = panel.stat().st_size == 4 * math.prod(found["shape"])
        if whole and _panel_checksum(_map(panel, found["shape"])) == found["checksum"]:
            return found
    except (KeyError, TypeError, ValueError):
        pass
    log.warning("%s is damaged: its features are computed again", entry)
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
    """Compute what is not known, write it beside what is there, and take its place."""
    n_bytes = 4 * math.prod(shape)
    log.info(
        "computing %d features of %d stocks on %d of %d days, to be kept in %s (%.2g GB)",
        shape[0],
        shape[2],
        len(days) - known,
        len(days),
        entry,
        n_bytes / 1e9,
    )
    fields = {name: _recent(field, known - lookback) for name, field in market.fields.items()}
    with replacing(entry / "panel.f32") as beside:
        with beside.open("wb") as file:
            file.truncate(n_bytes)
            if hasattr(os, "posix_fallocate"):  # a full disk is an error now, not a crash later
                os.posix_fallocate(file.fileno(), 0, n_bytes)
        panel = _map(beside, shape, shared=True)
        if old is not None and known:
            panel[:, :known] = _map(entry / "panel.f32", old["shape"])[:, :known]
        width = max(1, BUFFER // (shape[0] * (shape[1] - known)))
        for first in range(0, shape[2], width):
            stocks = slice(first, first + width)
            some = {name: field[:, stocks] for name, field in fields.items()}
            values = panel.new_empty(shape[0], shape[1] - known, len(market.symbols[stocks]))
            compute(some, values)
            panel[:, known:, stocks] = values
        checksum = _panel_checksum(panel)
        (entry / "meta.json").unlink(missing_ok=True)  # it speaks of the old panel
    meta = {"shape": shape, "checksum": checksum, "days": days}
    with replacing(entry / "meta.json") as beside:
        beside.write_text(json.dumps(meta))
    return meta


def _recent(field: Tensor, row: int) -> Tensor:
    """Days from a row on, preceded by one that is 1 where a stock had a value before, else NaN.

    Without it a stock that is suspended for longer than ``lookback`` looks like one not yet listed.
    """
    if row <= 0:
        return field
    listed = field[:row].isfinite().any(dim=0, keepdim=True)
    return torch.cat([torch.where(listed, 1.0, torch.nan), field[row:]])


def _map(file: Path, shape: Sequence[int], *, shared: bool = False) -> Tensor:
    size = math.prod(shape)
    return torch.from_file(str(file), shared=shared, size=size, dtype=torch.float32).view(*shape)


def _panel_checksum(panel: Tensor) -> int:
    checksum = 0
    for feature in panel.numpy():
        checksum = zlib.crc32(feature, checksum)
    return checksum
