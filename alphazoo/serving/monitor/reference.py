"""What a run's own days look like, kept in its folder: the reference of the monitors.

It is made of the training and validation days when training ends, so that monitoring needs neither
their features nor their scores. It is a compressed archive of arrays, about 1 MB for Alpha158.
"""

import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from lightning.pytorch.utilities import rank_zero_only

from alphazoo.data.module import MarketDataModule
from alphazoo.data.scores import locate_rows
from alphazoo.errors import InputError
from alphazoo.files import write_atomically
from alphazoo.metrics import daily_ic
from alphazoo.runs.read import read_rows
from alphazoo.runs.run import Run
from alphazoo.serving.monitor.profile import Bins, Columns, Values, pooled, psi
from alphazoo.serving.monitor.series import agreement, replaced, z_counts, z_edges

Names = npt.NDArray[Any]  # of text

FILE = "monitor.npz"
WINDOW = 20  # days of a window whose PSI is compared with that of live days
LEVEL = 0.999  # quantile of daily shares
EVERY = 5  # one in so many days has checksums
TOP = 50  # best stocks whose replacement is counted, as in the published portfolio


@dataclass(frozen=True, eq=False)
class Reference:
    """The reference of a run. F: profiled columns, P: days with checksums, V: validation days.

    Those of an update include the validation days of its parent.

    Attributes:
        columns: [F], names.
        edges: [F, 9], deciles on the training days.
        center: [F], median.
        scale: [F], interquartile range.
        counts: [F, 10], number of training rows in each bin.
        psi: [F], largest PSI of `WINDOW` consecutive training or validation days.
        missing: [F], share of missing values on the training days.
        missing_high: [F], quantile `LEVEL` of the daily shares on training and validation days.
        repeats: [F], largest daily share of values equal to those of the day before.
        days: [P], YYYY-MM-DD.
        checksums: [P, F], see `alphazoo.serving.monitor.profile.Profile`.
        score_edges: [9], deciles of the scores of validation days, standardised within the day.
        score_counts: [V, 10], number of them in each bin.
        score_std: [V], standard deviation of the raw scores of a day.
        agreement: [V], Spearman correlation of a day's scores with those of the day before.
        replaced: [V], share of the best stocks that were not among the best the day before.
        ic: [V], daily IC.
    """

    columns: Names
    edges: Values
    center: Values
    scale: Values
    counts: npt.NDArray[np.int64]
    psi: Values
    missing: Values
    missing_high: Values
    repeats: Values
    days: Names
    checksums: Values
    score_edges: Values
    score_counts: npt.NDArray[np.int64]
    score_std: Values
    agreement: Values
    replaced: Values
    ic: Values

    @property
    def bins(self) -> Bins:
        """The deciles of the columns."""
        return Bins(self.edges, self.center, self.scale)

    @classmethod
    def read(cls, folder: Path) -> "Reference":
        """Read the reference of a run.

        Raises:
            InputError: The folder has none, or it is damaged.
        """
        file = folder / FILE
        if not file.is_file():
            raise InputError(
                f"{folder} has no {FILE}: an earlier version trained this run; alphazoo monitor "
                f"run={folder} reference=true data.path=... makes it"
            )
        try:
            with np.load(file, allow_pickle=False) as arrays:
                return cls(**{field.name: arrays[field.name] for field in fields(cls)})
        except (KeyError, OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"{file} is damaged: {error}") from error

    def write(self, folder: Path) -> None:
        """Write the reference into the folder of a run."""
        with write_atomically(folder / FILE) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **vars(self))


def make_reference(
    data: MarketDataModule, valid: pd.DataFrame, parent: Reference | None = None
) -> Reference:
    """Compute the reference of a run.

    Args:
        data: Data of the run, set up.
        valid: Scores of the validation days: ``date``, ``symbol``, ``score``, ``return``.
        parent: Of an update, the reference of its parent. The parent's validation days count, too,
            because those of an update are few.
    """
    panels, market = data.days("train").panels, data.market
    columns = Columns.of(data.features, panels.windows, market)
    train, whole = data.segments["train"], data.segments["train"] + data.segments["valid"]
    bins = columns.bins(train)
    span = range(whole[0], whole[-1] + 1)
    profile = columns.profile(span, bins)
    own = np.array(train) - span.start
    counts = profile.counts[own].sum(axis=0)
    windows = pooled(profile.counts, WINDOW)[min(WINDOW, len(span)) - 1 :]
    rows = np.array(whole[::EVERY])
    rows_scored, stocks = locate_rows(valid, market)
    days = np.unique(rows_scored)
    scores = np.full((len(days), len(market.symbols)), np.nan)
    scores[np.searchsorted(days, rows_scored), stocks] = valid["score"]
    edges = z_edges(scores) if parent is None else parent.score_edges
    of_scores = {
        "score_counts": z_counts(scores, edges),
        "score_std": np.nanstd(scores, axis=1),
        "agreement": agreement(scores),
        "replaced": replaced(scores, TOP),
        "ic": daily_ic(valid)["ic"].to_numpy(),
    }
    if parent is not None:
        of_scores = {
            name: np.concatenate([getattr(parent, name), own]) for name, own in of_scores.items()
        }
    return Reference(
        columns=np.array(columns.names),
        **vars(bins),
        counts=counts,
        psi=np.nan_to_num(np.nanmax(psi(windows, counts), axis=0, initial=0.0)),
        missing=np.nanmean(profile.missing[own], axis=0),
        missing_high=np.nanquantile(profile.missing, LEVEL, axis=0),
        repeats=np.nanmax(profile.repeats, axis=0, initial=0.0),
        days=np.array([f"{market.dates[row]:%Y-%m-%d}" for row in rows]),
        checksums=profile.checksums[rows - span.start],
        score_edges=edges,
        **of_scores,
    )


def validation_scores(run: Run) -> pd.DataFrame:
    """Return the scores of the validation days; of a walk forward, those of its last window."""
    file = run.folder / "rows.parquet"
    table = (
        read_rows(file, ["date", "symbol", "split"], ["score", "return"])
        if file.is_file()
        else run.scores
    )
    return table[table["split"] == "valid"].reset_index(drop=True)


@rank_zero_only
def keep_reference(run: Run, data: MarketDataModule) -> None:
    """Write the reference of a run, whose scores are written, into its folder."""
    parent = None
    if "child_of" in run.config and (Path(run.config.child_of.run) / FILE).is_file():
        parent = Reference.read(Path(run.config.child_of.run))
    make_reference(data, validation_scores(run.last_window), parent).write(run.folder)
