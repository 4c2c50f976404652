"""Lineage: the checkpoints that a model came from, and the days that they have seen.

A checkpoint carries the list of its ancestors, oldest first. It has seen its own train and
validation days and those of every ancestor, wherever their files are now.
"""

import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError

log = logging.getLogger(__name__)

# how, checkpoint, model; trained and seen: the last day, YYYY-MM-DD, that train labels reach, and
# the last that those of train and validation reach; None where nobody knows
Ancestor = dict[str, Any]
Lineage = list[Ancestor]

SEEN_BEFORE = "days_seen_before"


def read_lineage(checkpoint: Mapping[str, Any]) -> Lineage:
    """The ancestors of a checkpoint, oldest first."""
    about = checkpoint["alphazoo"]
    if "lineage" in about:
        return [*about["lineage"]]
    base = about.get("base")  # of an earlier version
    if base is None:
        return []
    days = {"trained": base["last_day"], "seen": base["last_day"]}
    return [{"how": "init_from", "checkpoint": base["checkpoint"], "model": base["model"], **days}]


def descend(checkpoint: Mapping[str, Any], how: str, path: str | Path) -> Lineage:
    """The lineage of a model that starts from a checkpoint.

    Args:
        checkpoint: What is in the file.
        how: The setting that names it: ``init_from``, ``ckpt`` or ``walk_forward.warm_start``.
        path: The file.
    """
    model = checkpoint["alphazoo"]["model"]
    about = {"how": how, "checkpoint": str(path), "model": model}
    return [*read_lineage(checkpoint), {**about, **_own_days(checkpoint)}]


def last_day_seen(checkpoint: Mapping[str, Any]) -> str | None:
    """The last day, YYYY-MM-DD, that a checkpoint or an ancestor was trained on or chosen by.

    None if nobody knows.
    """
    return _latest([*read_lineage(checkpoint), _own_days(checkpoint)], "seen")


def check_lineage(
    lineage: Lineage, data: MarketDataModule, *, source: str, allow_leak: bool
) -> None:
    """Refuse a model that has seen test days; warn where it was trained on validation days.

    Args:
        lineage: Of the model, see `descend`.
        data: The days that it will learn from and be tested on.
        source: The setting and file that it starts from, for messages.
        allow_leak: Accept it all the same.

    Raises:
        InputError: An ancestor has seen the first test day or later ones, or does not say what
            days it saw.
    """
    if not lineage:
        return
    last, first = _latest(lineage, "seen"), _first(data, "test")
    if not allow_leak and (last is None or last >= first):
        fault = "does not say what days it saw" if last is None else f"saw days up to {last}"
        culprit = next(one for one in lineage if one["seen"] == last)
        by_way = "" if culprit is lineage[-1] else f" by way of {culprit['checkpoint']}"
        raise InputError(
            f"{source} {fault}{by_way}, and the test days start on {first}: the test would be of "
            "days that are known already (allow_leak=true takes it all the same)"
        )
    trained, first = _latest(lineage, "trained"), _first(data, "valid")
    if trained is None or trained >= first:
        log.warning(
            "%s was trained on days up to %s, and the validation days start on %s: validation "
            "metrics are too good, and the choice of the best epoch by them is biased",
            source,
            trained or "nobody knows which",
            first,
        )


def seen_before(lineage: Lineage, data: MarketDataModule) -> dict[str, float]:
    """Validation and test days that the ancestors of a model have seen already.

    Returns:
        ``val/days_seen_before``: validation days that an ancestor was trained on;
        ``test/days_seen_before``: test days that one was trained on or chosen by, with
        ``allow_leak``. NaN where nobody knows; left out where there are none.
    """
    found = {}
    for split, name, key in (("valid", "val", "trained"), ("test", "test", "seen")):
        last = _latest(lineage, key)
        count = math.nan if last is None else _count(data, split, last)
        if count:
            found[f"{name}/{SEEN_BEFORE}"] = float(count)
    return found


def _own_days(checkpoint: Mapping[str, Any]) -> dict[str, str | None]:
    days = checkpoint.get("MarketDataModule", {}).get("days")
    if not days:
        return {"trained": None, "seen": None}
    return {"trained": days["train"][1], "seen": max(days["train"][1], days["valid"][1])}


def _latest(lineage: Iterable[Mapping[str, Any]], key: str) -> str | None:
    """The last of the days of all ancestors; empty without any, None where one is unknown."""
    days = [ancestor[key] for ancestor in lineage]
    return None if None in days else max(days, default="")


def _first(data: MarketDataModule, segment: str) -> str:
    data.setup()
    return f"{data.market.dates[data.segments[segment][0]]:%Y-%m-%d}"


def _count(data: MarketDataModule, segment: str, last: str) -> int:
    days = data.market.dates[[*data.segments[segment]]]
    return int((days <= pd.Timestamp(last)).sum())
