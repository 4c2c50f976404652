"""What is monitored: the scores of one version, with the market and the profile of its days."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from alphazoo.data.labels import Label
from alphazoo.data.module import MarketDataModule
from alphazoo.data.scores import locate_rows
from alphazoo.errors import InputError, shorten
from alphazoo.market.market import Market
from alphazoo.metrics import Panel
from alphazoo.runs.run import Run
from alphazoo.serving.monitor.limits import Limits
from alphazoo.serving.monitor.profile import Columns, Profile
from alphazoo.serving.monitor.reference import Reference
from alphazoo.serving.score_file import CHECKPOINT, DATE, SCORE, VERSION


@dataclass(frozen=True, eq=False)
class Live:
    """The days from the first scored day to the newest day of the data.

    Attributes:
        run: The run that gave the scores.
        checkpoint: Digest of its checkpoint.
        market: The market, including days before the scored ones.
        label: Its holding period is that of the IC.
        limits: The limits of the monitors.
        reference: The reference of the run.
        columns: The profiled columns.
        table: The scores of the version, see `alphazoo.serving.score_file`.
        rows: Rows of the calendar, from the first scored day to the newest day.
        scores: [d, S]; NaN where there is no score.
        today: The day on which the monitors run.
    """

    run: Run
    checkpoint: str
    market: Market
    label: Label
    limits: Limits
    reference: Reference
    columns: Columns
    table: pd.DataFrame
    rows: range
    scores: Panel
    today: pd.Timestamp

    @classmethod
    def of(
        cls,
        run: Run,
        checkpoint: str,
        data: MarketDataModule,
        table: pd.DataFrame,
        limits: Limits,
        reference: Reference,
        today: pd.Timestamp,
    ) -> "Live":
        """Combine a run, its data and scores of one version.

        Raises:
            InputError: The market lacks a date or symbol of the scores, or the features are not
                those of the reference.
        """
        market = data.market
        columns = Columns.of(data.features, data.days("train").panels.windows, market)
        if list(columns.names) != reference.columns.tolist():
            raise InputError(
                f"the reference of {run.folder} has the features "
                f"{shorten(reference.columns.tolist())}, but its config has "
                f"{shorten(columns.names)}"
            )
        days, stocks = locate_rows(table, market)
        rows = range(int(days.min()), len(market.dates))
        scores = np.full((len(rows), len(market.symbols)), np.nan)
        scores[days - rows.start, stocks] = table[SCORE]
        return cls(
            *(run, checkpoint, market, data.label, limits, reference, columns, table),
            *(rows, scores, today),
        )

    @property
    def dates(self) -> pd.DatetimeIndex:
        """The days, [d]."""
        return self.market.dates[self.rows.start :]

    @property
    def scored(self) -> Sequence[int]:
        """Positions of the scored days among the days."""
        return np.flatnonzero(np.isfinite(self.scores).any(axis=1)).tolist()

    @cached_property
    def history(self) -> int:
        """Number of earlier days that the profile has, for pooling and comparison."""
        return min(self.limits.psi_days, self.rows.start)

    @cached_property
    def profile(self) -> Profile:
        """Profile of `history` earlier days and of the days."""
        first = self.rows.start - self.history
        return self.columns.profile(range(first, self.rows.stop), self.reference.bins)


def choose_version(
    table: pd.DataFrame, run: Run, checkpoint: str, file: object, version: str | None = None
) -> pd.DataFrame:
    """Return the scores of one version: by default the newest that the run's checkpoint gave.

    Raises:
        InputError: The file has no scores of this version, or none by the run's checkpoint.
    """
    if table.empty:
        raise InputError(f"{file} has no scores")
    if version is not None:
        rows: pd.DataFrame = table[table[VERSION] == version]
        if rows.empty:
            raise InputError(
                f"{file} has no scores of version {version!r}; available: "
                f"{shorten(sorted(table[VERSION].unique()))}"
            )
        return rows
    own = table[table[CHECKPOINT] == checkpoint]
    if own.empty:
        newest = table.sort_values(DATE).iloc[-1]
        raise InputError(
            f"{file} has no scores by the checkpoint of {run.folder}: the newest are of version "
            f"{newest[VERSION]!r}; run= must name the run of that version, or version= the scores"
        )
    newest_version = str(own.sort_values(DATE)[VERSION].iloc[-1])
    return choose_version(table, run, checkpoint, file, newest_version)
