"""The metrics of a training run as a table, ``logs/metrics.csv``; a resumed run appends to it."""

from pathlib import Path
from typing import Any

import pandas as pd
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger

from alphazoo.files import write_table


class TableLogger(CSVLogger):
    """Lightning's CSV logger, except that it keeps the rows of an existing table.

    If a process is killed between saving a checkpoint and writing the row of ``train/loss``, that
    row is missing from the table.
    """

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer of the table."""
        if self._experiment is not None:
            return self._experiment
        file = Path(self.log_dir) / "metrics.csv"
        rows = _read(file)
        file.unlink(missing_ok=True)
        writer = super().experiment
        if rows is not None:
            writer.metrics = [
                {name: value for name, value in row.items() if pd.notna(value)}
                for row in rows.to_dict("records")
            ]
            writer.save()
        return writer


def keep_rows(file: Path, steps: int) -> None:
    """Keep only the rows of a metrics table below a step; a resumed run writes the others again."""
    rows = _read(file)
    if rows is not None:
        write_table(rows[rows["step"].astype(int) < steps], file)


def _read(file: Path) -> pd.DataFrame | None:
    """Read a table as text, so that every number is written back unchanged."""
    return pd.read_csv(file, dtype=str) if file.is_file() and file.stat().st_size else None
