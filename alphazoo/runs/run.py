"""A finished run, opened from its folder: config, checkpoint, metrics and scores."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from alphazoo.config import apply_overrides
from alphazoo.errors import InputError
from alphazoo.runs.read import Provenance, read_config, read_json, read_rows
from alphazoo.runs.trust import check_trusted
from alphazoo.runs.upgrade import upgrade

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
        own: The user's config folders, in addition to that of this package.
        trust: Whether the config may create and compute anything.
    """

    folder: Path
    config: DictConfig
    overrides: tuple[str, ...] = ()
    own: tuple[Path, ...] = ()
    trust: bool = False

    @classmethod
    def open(
        cls,
        folder: str | Path,
        overrides: Sequence[str] = (),
        *,
        own: Sequence[Path] = (),
        trust: bool = False,
        source: str = "",
    ) -> "Run":
        """Read the config of a run, which a stranger may have written.

        Args:
            folder: Folder of the run, which may have been moved since.
            overrides: Changes to the config, as on the command line.
            own: The user's config folders; their yaml files are trusted like those of this package.
            trust: Also open a run whose config could run arbitrary code.
            source: Where the run comes from, for messages; the folder if it is not set.

        Raises:
            InputError: The folder holds no run or one of an earlier layout, the config has no such
                key, or it is not trusted, see `alphazoo.runs.trust.check_trusted`.
        """
        path = Path(folder).expanduser()
        file = path / "config.yaml"
        if not file.is_file():
            raise InputError(f"{path} is not the folder of a run: it has no config.yaml")
        config = read_config(file)
        if (path / EARLIER).is_file():
            raise InputError(
                f"{path} was written by an earlier version of alphazoo: it has {EARLIER} instead "
                f"of {PROVENANCE}. Train it again, or open it with the version that wrote it"
            )
        upgrade(config)
        found = config.copy()
        apply_overrides(config, overrides)
        if not trust:
            check_trusted(source or str(path), found, config, overrides, own)
        config.folder = str(path)
        try:
            OmegaConf.to_container(config, resolve=True)
        except OmegaConfBaseException as error:
            said = str(error).partition("\n")[0]
            raise InputError(f"{file} is damaged or an override does not fit: {said}") from error
        return cls(path, config, tuple(overrides), tuple(own), trust)

    @property
    def last_window(self) -> "Run":
        """The last window of a walk forward, as a run; any other run is returned as it is."""
        windows = sorted(file.parent for file in self.folder.glob("windows/*/config.yaml"))
        if not windows:
            return self
        last = Run.open(windows[-1], own=self.own, trust=self.trust).config
        config = self.config.copy()
        config.data.update({name: last.data[name] for name in ("train", "valid", "test")})
        return replace(self, folder=windows[-1], config=config)

    @property
    def members(self) -> list["Run"]:
        """The runs of an ensemble, opened with the same overrides."""
        folders = self.config.ensemble.runs
        return [
            Run.open(folder, self.overrides, own=self.own, trust=self.trust) for folder in folders
        ]

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
        """The score table of the run, with date, symbol, split, score and return.

        Raises:
            InputError: There is none.
        """
        file = self.folder / "scores.parquet"
        return read_rows(file, ["date", "symbol", "split"], ["score", "return"])

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
        InputError: The folder has no ``metrics.json``, or it is damaged.
    """
    return read_json(folder / "metrics.json", dict[str, float | None])


def read_provenance(folder: Path) -> dict[str, Any]:
    """Return the provenance of a run, see `alphazoo.runs.provenance`; empty if there is none.

    Raises:
        InputError: The file is damaged.
    """
    file = folder / PROVENANCE
    return {**read_json(file, Provenance)} if file.is_file() else {}
