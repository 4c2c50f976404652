"""The metrics of a training run as a table, ``logs/metrics.csv``; a resumed run appends to it."""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from alphazoo.files import write_table, write_text
from alphazoo.runs.read import read_log


class MetricsLogger(CSVLogger):
    """Lightning's CSV logger, except that it keeps the rows of an existing table."""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer of the table."""
        if self._experiment is None:
            self._experiment = _Writer(self.log_dir)
        return self._experiment


class _Writer(ExperimentWriter):
    """Writes the whole table each time: a killed process leaves the last one."""

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        rows = _read(Path(self.metrics_file_path))
        if rows is not None:
            self.metrics = [
                {str(name): value for name, value in row.items() if pd.notna(value)}
                for row in rows.to_dict("records")
            ]

    def save(self) -> None:
        """Write all rows."""
        if not self.metrics:
            return
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, sorted(set().union(*self.metrics)))
        table.writeheader()
        table.writerows(self.metrics)
        write_text(Path(self.metrics_file_path), text.getvalue())

    def _check_log_dir_exists(self) -> None:
        """Lightning would delete the table of an earlier process."""


def repair_log(file: Path, steps: int, last: Mapping[str, float]) -> None:
    """Make a metrics table that of a run that has just written a checkpoint.

    Rows of later steps are removed: the resumed run writes them again. What is missing because the
    process was killed between writing the checkpoint and the row of ``train/loss`` is added.

    Args:
        file: The table; it may be missing.
        steps: Optimiser steps made up to the checkpoint.
        last: ``epoch``, ``step`` and metrics that were to be logged with the checkpoint.
    """
    rows = _read(file)
    if rows is None:
        rows = pd.DataFrame(columns=["epoch", "step"])
    rows = rows[rows["step"].astype(int) < steps]
    if last:
        same = rows[rows["step"].astype(int) == last["step"]].dropna(axis=1, how="all")
        missing = {name: x for name, x in last.items() if name not in same and not math.isnan(x)}
        if missing:
            row = pd.DataFrame([{"epoch": last["epoch"], "step": last["step"], **missing}])
            rows = row if rows.empty else pd.concat([rows, row], ignore_index=True)
    if file.is_file() or not rows.empty:
        write_table(rows, file)


def _read(file: Path) -> pd.DataFrame | None:
    return read_log(file) if file.is_file() and file.stat().st_size else None
