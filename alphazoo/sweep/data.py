"""Compare the data of finished jobs with the current data: grown data add days to score."""

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from alphazoo.config import instantiate
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError, shorten
from alphazoo.market.fingerprint import CHANGED, GROWN, UNKNOWN, Fingerprint
from alphazoo.market.periods import parse_bound
from alphazoo.runs.run import read_provenance
from alphazoo.sweep.jobs import CKPT_LAST

log = logging.getLogger(__name__)

# keys that do not affect the data; jobs that differ only in these share one market
OTHER_KEYS = (
    *(
        "seed",
        "model",
        "loss",
        "optimizer",
        "scheduler",
        "scaler",
        "averaging",
        "trainer",
        "patience",
    ),
    *("monitor", "mode", "ckpt", "init_from", "report", "logger", "days_per_step"),
)
REMEDY = "use a new folder (hydra.sweep.dir=FOLDER), or delete those runs"

Read = Callable[[DictConfig], Fingerprint]
Finished = tuple[Path, DictConfig, Fingerprint]  # folder and config of a job, current data


def cached_reader(read: Read) -> Read:
    """Cache a function that reads data, so that equal data are read once."""
    known: dict[str, Fingerprint] = {}

    def look_up(config: DictConfig) -> Fingerprint:
        data = cast("dict[str, Any]", OmegaConf.to_container(config.data, resolve=True))
        key = json.dumps([data["market"], data.get("concepts")], sort_keys=True, default=str)
        if key not in known:
            known[key] = read(config)
        return known[key]

    return look_up


def read_fingerprint(config: DictConfig) -> Fingerprint:
    """Return the fingerprint of the current data of a job."""
    data: MarketDataModule = instantiate(config.datamodule)
    return data.read_fingerprint()


def data_overrides(overrides: Iterable[str]) -> tuple[str, ...]:
    """Return the overrides of a job that may affect its data."""
    keys = {text: text.partition("=")[0].lstrip("+~") for text in overrides}
    return tuple(text for text, key in keys.items() if key.split(".")[0] not in OTHER_KEYS)


def find_outdated(jobs: Iterable[Finished]) -> list[Path]:
    """Return the folders of finished jobs that have new test days, or new returns of them.

    Raises:
        InputError: The data of a job have changed.
    """
    changed, outdated, unknown = [], [], []
    for folder, config, now in jobs:
        record = read_provenance(folder).get("data", {})
        found = now.compare(record)
        if found.kind == CHANGED:
            changed.append(f"{folder} (in market {now.market.name!r} {found.what})")
        elif found.kind == UNKNOWN:
            unknown.append(folder.name)
        elif found.kind == GROWN and pd.Timestamp(found.last) < _last_needed(config, now):
            outdated.append(folder)
    if changed:
        raise InputError(f"the data have changed since {shorten(changed, 3)}: {REMEDY}")
    if unknown:
        log.warning("these jobs do not record their data: %s", shorten(unknown))
    if outdated:
        log.info("the data have grown since the jobs %s", shorten(path.name for path in outdated))
    return outdated


def _last_needed(config: DictConfig, now: Fingerprint) -> pd.Timestamp:
    """Return the last day whose prices the returns of the test days need."""
    dates, end = now.market.dates, parse_bound(config.data.test[1], "right", "test")
    n_days = len(dates) if end is None else int(dates.searchsorted(end, "right"))
    reach = instantiate(config.label).reach
    last: pd.Timestamp = dates[min(n_days - 1 + reach, len(dates) - 1)]
    return last


def resume_overrides(overrides: Sequence[str]) -> list[str]:
    """Return the overrides of a job with ``ckpt=last``, which resumes it."""
    return [*(text for text in overrides if not text.startswith("ckpt=")), CKPT_LAST]
