"""What a run is made of: its data, settings, code, packages and machine, as ``facts.json``."""

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

from alphazoo.config import FILES, SOURCES, flatten
from alphazoo.data.fingerprint import Fingerprint, concepts_digest
from alphazoo.data.market import Market
from alphazoo.data.module import MarketDataModule
from alphazoo.files import write_json
from alphazoo.runs import FACTS, read_facts

FEW = ("torch", "lightning", "numpy", "pandas")
# settings that change no figure; of the data there is the fingerprint
WITHOUT_EFFECT = (*FILES, *SOURCES, "report", "trainer.enable_progress_bar")


def facts(config: DictConfig, data: MarketDataModule, trainer: L.Trainer) -> dict[str, Any]:
    """What somebody needs to make a run again, or to see why two runs differ.

    Args:
        config: All that the run is told.
        data: Set up.
        trainer: Knows the device.

    Returns:
        ``data`` (see `data_facts`), ``settings`` (a digest of those that figures depend on),
        ``git`` (commit of the working directory and whether tracked files differ from it; None
        outside a repository), ``packages``, ``machine``.
    """
    return {
        "data": data_facts(data),
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
    """A digest of a market, as ``facts.json`` has it: other data, another digest."""
    return str(Fingerprint(market).record["fingerprint"])


def data_facts(data: MarketDataModule) -> dict[str, Any]:
    """The record of the data that a later run compares its own with.

    That of `alphazoo.data.fingerprint.Fingerprint.record`, and a digest of the ``concepts``, which
    are None where there are none.
    """
    concepts = data.concepts
    digest = None if concepts is None else concepts_digest(concepts, data.market)
    return {**data.fingerprint.record, "concepts": digest}


def settings_digest(config: DictConfig) -> str:
    """A digest of the settings that figures depend on."""
    config = config.copy()
    config.folder = ""  # callbacks write there
    told = {key: str(value) for key, value in flatten(config, WITHOUT_EFFECT).items()}
    return hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=8).hexdigest()


@rank_zero_only
def write_facts(config: DictConfig, data: MarketDataModule, trainer: L.Trainer) -> None:
    """Write what a run is made of into its folder."""
    write_json(Path(config.folder) / FACTS, facts(config, data, trainer))


@rank_zero_only
def take_facts(config: DictConfig, folder: Path, data: MarketDataModule) -> None:
    """Write those of a run that is a part of another, whose settings and data are its own."""
    own = {"data": data_facts(data), "settings": settings_digest(config)}
    write_json(Path(config.folder) / FACTS, {**read_facts(folder), **own})


@rank_zero_only
def add_fact(folder: Path, name: str, fact: Any) -> None:
    """Add to the facts of a run what is known at its end alone."""
    write_json(folder / FACTS, {**read_facts(folder), name: fact})


def _packages() -> dict[str, str]:
    """Versions of this package and of those that it asks for, as far as they are installed."""
    found = {}
    try:
        needed = ["alphazoo", *(requires("alphazoo") or ())]
    except PackageNotFoundError:  # a checkout that is not installed
        needed = [*FEW]
    for name in (re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in needed):
        with suppress(PackageNotFoundError):  # an extra
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
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
