"""Whether the past is as it was: features of old days are computed again and compared.

Checksums of features are remembered when a day is first monitored; those of reference days when the
run was trained. Data that were restated, and adjustments that change features, alter them.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from alphazoo.errors import InputError, shorten
from alphazoo.files import write_atomically
from alphazoo.serving.monitor.live import Live
from alphazoo.serving.monitor.readings import readings

SEEN = "seen.npz"
TOLERANCE = 1e-3  # interquartile ranges, summed over the stocks of a day; rounding is far below


def past(live: Live, folder: Path, *, accept: bool = False) -> pd.DataFrame:
    """Return the number of old days whose features have changed, on the newest day.

    Args:
        live: The monitored days.
        folder: Folder that remembers the days monitored so far.
        accept: Remember the features as they are now.
    """
    known = _remembered(live, folder)
    reference = live.reference
    old = known.index.difference(live.dates)
    rows = live.market.dates.get_indexer(old)
    gone, rows = old[rows < 0], rows[rows >= 0].tolist()
    values = [live.profile.checksums[live.history :]]
    if rows:
        values.append(live.columns.checksums(rows, reference.bins))
    days = live.dates.append(live.market.dates[rows])
    now = pd.DataFrame(np.concatenate(values), index=days, columns=known.columns)
    compared = known.index.intersection(now.index)
    differs = (now.loc[compared] - known.loc[compared]).abs() > TOLERANCE
    changed = sorted([*gone, *compared[differs.any(axis=1)]])
    _remember(now if accept else known.combine_first(now), folder)
    value = np.full(len(live.rows), np.nan)
    value[-1] = 0 if accept else len(changed)
    columns = differs.columns[differs.any(axis=0)]
    detail = [""] * len(live.rows)
    if changed and not accept:
        listed = shorten(f"{day:%Y-%m-%d}" for day in changed)
        detail[-1] = f"{listed}; columns {shorten(columns)}"
    return readings("past", live.dates, value, high=0, detail=detail)


def _remembered(live: Live, folder: Path) -> pd.DataFrame:
    """Return the checksums of reference days, and of those that were monitored before."""
    names = live.reference.columns.tolist()
    days = pd.DatetimeIndex(live.reference.days.tolist())
    known = pd.DataFrame(live.reference.checksums, index=days, columns=names)
    file = folder / SEEN
    if not file.is_file():
        return known
    try:
        with np.load(file, allow_pickle=False) as arrays:
            days = pd.DatetimeIndex(arrays["days"].tolist())
            seen = pd.DataFrame(arrays["checksums"], index=days, columns=arrays["columns"].tolist())
    except (KeyError, OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{file} is damaged: {error}; delete it to begin anew") from error
    if list(seen.columns) != names:
        raise InputError(f"{file} belongs to a run with other features: use another out=FOLDER")
    return seen.combine_first(known)


def _remember(known: pd.DataFrame, folder: Path) -> None:
    with write_atomically(folder / SEEN) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            days=np.array([f"{day:%Y-%m-%d}" for day in known.index]),
            columns=np.array([*known.columns]),
            checksums=known.to_numpy(),
        )
