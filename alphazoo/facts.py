"""What a run is made of: its data, settings, code, packages and machine, as ``facts.json``."""

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from torch import Tensor

from alphazoo.config import FILES, SOURCES, flatten
from alphazoo.data.concepts import Concepts
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
        ``data`` (with a ``fingerprint`` of all that is read of the market, and one of the
        ``concepts``), ``settings`` (a digest of those that figures depend on), ``git`` (commit of
        the working directory and whether tracked files differ from it; None outside a repository),
        ``packages``, ``machine``.
    """
    market = data.market
    return {
        "data": {
            "market": market.name,
            "fingerprint": fingerprint(market),
            "concepts": concepts_digest(data.concepts),
            "days": len(market.dates),
            "stocks": len(market.symbols),
            "first": f"{market.dates[0]:%Y-%m-%d}",
            "last": f"{market.dates[-1]:%Y-%m-%d}",
        },
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
    """A digest of calendar, symbols, members and every value: other data, another one."""
    days = [f"{day:%Y-%m-%d}" for day in market.dates]
    names = {symbol: sorted(index) for symbol, index in sorted(market.indices.items())}
    panels = [market.members, *(market.fields[name] for name in sorted(market.fields))]
    panels += [market.indices[symbol][name] for symbol in names for name in names[symbol]]
    known = [panel for panel in (*panels, market.benchmark, market.factor) if panel is not None]
    return _digest([days, market.symbols, sorted(market.fields), names], known)


def concepts_digest(concepts: Concepts | None) -> str | None:
    """A digest of who belongs to what, and when; None where nobody does."""
    if concepts is None:
        return None
    parts = (concepts.stocks, concepts.concepts, concepts.first, concepts.last, concepts.weights)
    return _digest([*concepts.names], parts)


def settings_digest(config: DictConfig) -> str:
    """A digest of the settings that figures depend on."""
    config = config.copy()
    config.folder = ""  # callbacks write there
    told = {key: str(value) for key, value in flatten(config, WITHOUT_EFFECT).items()}
    return _digest(told)


def _digest(told: Any, panels: Iterable[Tensor] = ()) -> str:
    digest = hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=8)
    for panel in panels:
        digest.update(panel.contiguous().numpy().data)
    return digest.hexdigest()


@rank_zero_only
def write_facts(config: DictConfig, data: MarketDataModule, trainer: L.Trainer) -> None:
    """Write what a run is made of into its folder."""
    write_json(Path(config.folder) / FACTS, facts(config, data, trainer))


@rank_zero_only
def take_facts(config: DictConfig, folder: Path) -> None:
    """Write those of another run, but for the settings: one that it is a part of has its own."""
    found = {**read_facts(folder), "settings": settings_digest(config)}
    write_json(Path(config.folder) / FACTS, found)


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
