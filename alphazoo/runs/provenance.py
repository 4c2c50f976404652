"""Provenance of a run, ``provenance.json``: its data, settings, code, packages and machine."""

import hashlib
import json
import os
import platform
import re
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from alphazoo.config import DATA_KEYS, FILE_KEYS, flatten
from alphazoo.data.module import MarketDataModule
from alphazoo.files import write_json
from alphazoo.market.digests import concepts_digest
from alphazoo.market.fingerprint import Fingerprint
from alphazoo.market.market import Market
from alphazoo.runs.run import PROVENANCE, read_provenance

FEW = ("torch", "lightning", "numpy", "pandas")
# settings that affect no metric; the data are identified by their fingerprint, not by their path
WITHOUT_EFFECT = (*FILE_KEYS, *DATA_KEYS, "report", "trainer.enable_progress_bar")


def collect_provenance(
    config: DictConfig, data: MarketDataModule, trainer: L.Trainer
) -> dict[str, Any]:
    """Return what is needed to repeat a run, or to explain why two runs differ.

    Args:
        config: Config of the run.
        data: Data of the run, set up.
        trainer: Trainer of the run, which knows the device.

    Returns:
        ``data`` (see `data_provenance`), ``settings`` (see `settings_digest`), ``git`` (commit of
        the working directory, and whether tracked files differ from it; None outside a repository),
        ``packages``, ``machine``.
    """
    return {
        "data": data_provenance(data),
        "settings": settings_digest(config),
        "git": _git(),
        "packages": _packages(),
        "machine": {
            "system": platform.platform(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "device": str(trainer.strategy.root_device),
            "processes": trainer.world_size,
        },
    }


def fingerprint(market: Market) -> str:
    """Return the digest of a market that ``provenance.json`` stores; it identifies the data."""
    return str(Fingerprint(market).record["fingerprint"])


def data_provenance(data: MarketDataModule) -> dict[str, Any]:
    """Return a record of the data, with which later runs compare theirs.

    It holds `alphazoo.market.fingerprint.Fingerprint.record` and ``concepts``, a digest of the
    concepts or None.
    """
    concepts = data.concepts
    digest = None if concepts is None else concepts_digest(concepts, data.market)
    return {**data.fingerprint.record, "concepts": digest}


def settings_digest(config: DictConfig) -> str:
    """Return a digest of the settings that affect metrics."""
    config = config.copy()
    config.folder = ""  # the settings of callbacks hold the folder
    settings = {key: str(value) for key, value in flatten(config, WITHOUT_EFFECT).items()}
    return hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=8).hexdigest()


@rank_zero_only
def write_provenance(config: DictConfig, data: MarketDataModule, trainer: L.Trainer) -> None:
    """Write the provenance of a run into its folder."""
    write_json(Path(config.folder) / PROVENANCE, collect_provenance(config, data, trainer))


@rank_zero_only
def copy_provenance(config: DictConfig, folder: Path, data: MarketDataModule) -> None:
    """Write the provenance of a walk forward: that of a window, with its own settings and data."""
    own = {"data": data_provenance(data), "settings": settings_digest(config)}
    write_json(Path(config.folder) / PROVENANCE, {**read_provenance(folder), **own})


@rank_zero_only
def add_provenance(folder: Path, name: str, fact: Any) -> None:
    """Add an entry to the provenance of a run."""
    write_json(folder / PROVENANCE, {**read_provenance(folder), name: fact})


def _packages() -> dict[str, str]:
    """Return the versions of this package and of those of its requirements that are installed."""
    found = {}
    try:
        needed = ["alphazoo", *(requires("alphazoo") or ())]
    except PackageNotFoundError:  # a checkout that was not installed
        needed = [*FEW]
    for name in (re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in needed):
        with suppress(PackageNotFoundError):  # an extra that is not installed
            found[name] = version(name)
    return dict(sorted(found.items()))


def _git() -> dict[str, Any] | None:
    try:
        commit = _output("git", "rev-parse", "HEAD")
        changed = _output("git", "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "changed": bool(changed)}


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, check=True, timeout=10)
    return done.stdout.decode(errors="replace").strip()
