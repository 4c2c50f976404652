"""A finished run, opened from its folder: config, checkpoint, metrics and scores."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from alphazoo.config import apply_overrides
from alphazoo.errors import InputError

PROVENANCE = "provenance.json"
EARLIER = "facts.json"  # its former name; configs of that time name modules that have moved


@dataclass(frozen=True)
class Run:
    """A run in a folder.

    Attributes:
        folder: Folder of the run.
        config: Config of the run with unresolved interpolations, so that changing ``data.path``
            changes every key that refers to it.
        overrides: Changes that were made to the config when the run was opened.
    """

    folder: Path
    config: DictConfig
    overrides: tuple[str, ...] = ()

    @classmethod
    def open(cls, folder: str | Path, overrides: Sequence[str] = ()) -> "Run":
        """Read the config of a run.

        Args:
            folder: Folder of the run, which may have been moved since.
            overrides: Changes to the config, as on the command line.

        Raises:
            InputError: The folder holds no run or one of an earlier layout, or the config has no
                such key.
        """
        path = Path(folder).expanduser()
        file = path / "config.yaml"
        if not file.is_file():
            raise InputError(f"{path} is not the folder of a run: it has no config.yaml")
        config = OmegaConf.load(file)
        if not isinstance(config, DictConfig) or "datamodule" not in config:
            raise InputError(f"{file} is not the config of a run")
        if (path / EARLIER).is_file():
            raise InputError(
                f"{path} was written by an earlier version of alphazoo: it has {EARLIER} instead "
                f"of {PROVENANCE}. Train it again, or open it with the version that wrote it"
            )
        apply_overrides(config, overrides)
        config.folder = str(path)
        return cls(path, config, tuple(overrides))

    @property
    def last_window(self) -> "Run":
        """The last window of a walk forward, as a run; any other run is returned as it is."""
        windows = sorted(file.parent for file in self.folder.glob("windows/*/config.yaml"))
        if not windows:
            return self
        last = OmegaConf.load(windows[-1] / "config.yaml")
        config = self.config.copy()
        config.data.update({name: last.data[name] for name in ("train", "valid", "test")})
        return Run(windows[-1], config, self.overrides)

    @property
    def checkpoint(self) -> Path:
        """The checkpoint of the best epoch, which gave the scores of the run.

        Raises:
            InputError: There is none.
        """
        file = self.folder / "checkpoints" / "best.ckpt"
        if not file.is_file():
            raise InputError(
                f"{self.folder} has no {file.relative_to(self.folder)}: did the run end?"
            )
        return file

    @property
    def scores(self) -> pd.DataFrame:
        """The score table of the run: date, symbol, split, score, return.

        Raises:
            InputError: There is none.
        """
        file = self.folder / "scores.parquet"
        if not file.is_file():
            raise InputError(f"{self.folder} has no {file.name}: did the run end?")
        return pd.read_parquet(file)

    @property
    def metrics(self) -> dict[str, float | None]:
        """The metrics of the run, see `read_metrics`."""
        return read_metrics(self.folder)

    @property
    def provenance(self) -> dict[str, Any]:
        """The provenance of the run, see `read_provenance`."""
        return read_provenance(self.folder)


def read_metrics(folder: Path) -> dict[str, float | None]:
    """Return the metrics of a run or job by name; an undefined metric is None.

    Raises:
        InputError: The folder has no ``metrics.json``.
    """
    file = folder / "metrics.json"
    if not file.is_file():
        raise InputError(f"{folder} has no {file.name}: did the run end?")
    metrics: dict[str, float | None] = json.loads(file.read_text())
    return metrics


def read_provenance(folder: Path) -> dict[str, Any]:
    """Return the provenance of a run, see `alphazoo.runs.provenance`; empty if there is none."""
    file = folder / PROVENANCE
    provenance: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return provenance
