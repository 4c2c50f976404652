"""The figures of a training as a table, ``logs/metrics.csv``, continued when a training goes on."""

from pathlib import Path
from typing import Any

import pandas as pd
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger

from alphazoo.files import write_table


class TableLogger(CSVLogger):
    """Lightning's CSV logger, which deletes the table it finds; here its rows come first.

    A process that is killed in the moment between a checkpoint and the row of ``train/loss`` leaves
    the table without that row.
    """

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """What writes the table."""
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
    """Keep of a table of figures those of the first steps; the others will come again."""
    rows = _read(file)
    if rows is not None:
        write_table(rows[rows["step"].astype(int) < steps], file)


def _read(file: Path) -> pd.DataFrame | None:
    """As text, so that every figure is written as it was."""
    return pd.read_csv(file, dtype=str) if file.is_file() and file.stat().st_size else None
