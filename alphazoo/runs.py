"""A finished run, from its folder: its config, weights, figures and scores."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from alphazoo.config import override
from alphazoo.errors import InputError

FACTS = "facts.json"


@dataclass(frozen=True)
class Run:
    """What a run left in its folder.

    Attributes:
        folder: The folder.
        config: What the run was told, its interpolations alive: ``data.path`` is said once.
        overrides: What was changed since.
    """

    folder: Path
    config: DictConfig
    overrides: tuple[str, ...] = ()

    @classmethod
    def open(cls, folder: str | Path, overrides: Sequence[str] = ()) -> "Run":
        """Read the config of a run.

        Args:
            folder: Where the run wrote its results, perhaps elsewhere at the time.
            overrides: Changes of the config, as on the command line.

        Raises:
            InputError: There is no run in the folder, or its config has no such key.
        """
        path = Path(folder).expanduser()
        file = path / "config.yaml"
        if not file.is_file():
            raise InputError(f"{path} is not the folder of a run: it has no config.yaml")
        config = OmegaConf.load(file)
        if not isinstance(config, DictConfig) or "datamodule" not in config:
            raise InputError(f"{file} is not the config of a run")
        override(config, overrides)
        config.folder = str(path)
        return cls(path, config, tuple(overrides))

    @property
    def newest(self) -> "Run":
        """The training that knows most: the last of a run that walked forward, else itself."""
        windows = sorted(file.parent for file in self.folder.glob("windows/*/config.yaml"))
        if not windows:
            return self
        last = OmegaConf.load(windows[-1] / "config.yaml")
        config = self.config.copy()
        config.data.update({name: last.data[name] for name in ("train", "valid", "test")})
        return Run(windows[-1], config, self.overrides)

    @property
    def checkpoint(self) -> Path:
        """The weights that the run was judged by.

        Raises:
            InputError: There are none.
        """
        file = self.folder / "checkpoints" / "best.ckpt"
        if not file.is_file():
            raise InputError(f"{self.folder} has no {file.relative_to(self.folder)}: did it end?")
        return file

    @property
    def scores(self) -> pd.DataFrame:
        """Its score table: date, symbol, split, score, return.

        Raises:
            InputError: There is none.
        """
        file = self.folder / "scores.parquet"
        if not file.is_file():
            raise InputError(f"{self.folder} has no {file.name}: did the run end?")
        return pd.read_parquet(file)

    @property
    def metrics(self) -> dict[str, float | None]:
        """Its figures; None where one is undefined.

        Raises:
            InputError: There are none.
        """
        return read_metrics(self.folder)

    @property
    def facts(self) -> dict[str, Any]:
        """What it is made of, see `alphazoo.facts`; empty where nothing says so."""
        return read_facts(self.folder)


def read_metrics(folder: Path) -> dict[str, float | None]:
    """The figures of a run, or of a job; None where one is undefined.

    Raises:
        InputError: There are none.
    """
    file = folder / "metrics.json"
    if not file.is_file():
        raise InputError(f"{folder} has no {file.name}: did the run end?")
    figures: dict[str, float | None] = json.loads(file.read_text())
    return figures


def read_facts(folder: Path) -> dict[str, Any]:
    """What a run is made of, see `alphazoo.facts`; empty where nothing says so."""
    file = folder / FACTS
    facts: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return facts
