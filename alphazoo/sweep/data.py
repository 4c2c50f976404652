"""The data of a sweep: finished jobs on data that have grown are extended, on others refused."""

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from alphazoo.config import instantiate
from alphazoo.data.fingerprint import CHANGED, GROWN, UNKNOWN, Fingerprint
from alphazoo.data.module import MarketDataModule
from alphazoo.data.segments import bound
from alphazoo.errors import InputError, shorten
from alphazoo.runs import read_facts
from alphazoo.sweep.jobs import CKPT_LAST

log = logging.getLogger(__name__)

# keys that say nothing of the data: jobs that differ by these alone are compared with one market
OTHER_KEYS = (
    *("seed", "model", "optimizer", "scheduler", "scaler", "averaging", "trainer", "patience"),
    *("monitor", "mode", "ckpt", "init_from", "report", "logger", "days_per_step"),
)
REMEDY = "take a new folder (hydra.sweep.dir=FOLDER), or delete those runs"

Read = Callable[[DictConfig], Fingerprint]
Finished = tuple[Path, DictConfig, Fingerprint]  # a job, its config and the data of now


def read_once(read: Read) -> Read:
    """Read the data of many configs, each of which is read once."""
    known: dict[str, Fingerprint] = {}

    def look_up(config: DictConfig) -> Fingerprint:
        data = cast("dict[str, Any]", OmegaConf.to_container(config.data, resolve=True))
        key = json.dumps([data["market"], data.get("concepts")], sort_keys=True, default=str)
        if key not in known:
            known[key] = read(config)
        return known[key]

    return look_up


def read_fingerprint(config: DictConfig) -> Fingerprint:
    """The fingerprint of the data of a job."""
    data: MarketDataModule = instantiate(config.datamodule)
    return data.read_fingerprint()


def about_data(overrides: Iterable[str]) -> tuple[str, ...]:
    """Those overrides of a job that its data may depend on."""
    keys = {text: text.partition("=")[0].lstrip("+~") for text in overrides}
    return tuple(text for text, key in keys.items() if key.split(".")[0] not in OTHER_KEYS)


def find_outdated(jobs: Iterable[Finished]) -> list[Path]:
    """Finished jobs whose data have grown by days, or returns, that they should have scored.

    Raises:
        InputError: The data of some have changed since.
    """
    changed, outdated, unknown = [], [], []
    for folder, config, now in jobs:
        record = read_facts(folder).get("data", {})
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
        log.warning("these do not say which data they were made on: %s", shorten(unknown))
    if outdated:
        log.info("the data have grown since %s", shorten(path.name for path in outdated))
    return outdated


def _last_needed(config: DictConfig, now: Fingerprint) -> pd.Timestamp:
    """The last day whose prices the test days of a config depend on."""
    dates, end = now.market.dates, bound(config.data.test[1], "right", "test")
    n_days = len(dates) if end is None else int(dates.searchsorted(end, "right"))
    last: pd.Timestamp = dates[min(n_days - 1 + config.label.sell, len(dates) - 1)]
    return last


def going_on(overrides: Sequence[str]) -> list[str]:
    """The overrides of a job that goes on with what is in its folder."""
    return [*(text for text in overrides if not text.startswith("ckpt=")), CKPT_LAST]
