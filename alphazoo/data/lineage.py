"""Lineage: the checkpoints that a model's weights came from, and the days those have seen.

A checkpoint stores the list of its ancestors, oldest first. It has seen its own training and
validation days and those of every ancestor, even if their files have been moved or deleted.
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

# keys: how, checkpoint, model; trained: the last day, YYYY-MM-DD, that training labels reach; seen:
# the last day that training or validation labels reach; the days are None if unknown
Ancestor = dict[str, Any]
Lineage = list[Ancestor]

SEEN_BEFORE = "days_seen_before"
UPDATE, WARM_START = "update", "walk_forward.warm_start"  # start from all weights of a checkpoint


def read_lineage(checkpoint: Mapping[str, Any]) -> Lineage:
    """Return the ancestors of a checkpoint, oldest first."""
    about = checkpoint["alphazoo"]
    if "lineage" in about:
        return [*about["lineage"]]
    base = about.get("base")  # format of an earlier version
    if base is None:
        return []
    days = {"trained": base["last_day"], "seen": base["last_day"]}
    return [{"how": "init_from", "checkpoint": base["checkpoint"], "model": base["model"], **days}]


def extend_lineage(checkpoint: Mapping[str, Any], how: str, path: str | Path) -> Lineage:
    """Return the lineage of a model that starts from a checkpoint.

    Args:
        checkpoint: Content of the file.
        how: What names it: ``init_from``, ``ckpt``, `UPDATE` or `WARM_START`.
        path: The file.
    """
    model = checkpoint["alphazoo"]["model"]
    about = {"how": how, "checkpoint": str(path), "model": model}
    return [*read_lineage(checkpoint), {**about, **_own_days(checkpoint)}]


def starts_trained(lineage: Lineage) -> bool:
    """Whether a model started from all weights of a trained one, not only from its encoder."""
    starts = [ancestor["how"] for ancestor in lineage if ancestor["how"] != "ckpt"]
    return bool(starts) and starts[-1] in (UPDATE, WARM_START)


def last_day_seen(checkpoint: Mapping[str, Any]) -> str | None:
    """Return the last training or validation day, YYYY-MM-DD, of a checkpoint and its ancestors.

    None if it is unknown.
    """
    return _latest([*read_lineage(checkpoint), _own_days(checkpoint)], "seen")


def check_lineage(
    lineage: Lineage, data: MarketDataModule, *, source: str, allow_leak: bool
) -> None:
    """Refuse a model that has seen test days; warn if it was trained on validation days.

    Args:
        lineage: Lineage of the model, see `extend_lineage`.
        data: Data that the model will be trained and tested on.
        source: The setting and file that the model starts from, for messages.
        allow_leak: Accept a model that has seen test days.

    Raises:
        InputError: An ancestor has seen test days, or its days are unknown.
    """
    if not lineage:
        return
    last, first = _latest(lineage, "seen"), _first(data, "test")
    if not allow_leak and (last is None or last >= first):
        fault = "does not record which days it saw" if last is None else f"saw days up to {last}"
        culprit = next(ancestor for ancestor in lineage if ancestor["seen"] == last)
        through = "" if culprit is lineage[-1] else f" through {culprit['checkpoint']}"
        raise InputError(
            f"{source} {fault}{through}, but the test days start on {first}: test metrics would "
            "include days that the model has seen (allow_leak=true accepts this)"
        )
    trained, first = _latest(lineage, "trained"), _first(data, "valid")
    if trained is None or trained >= first:
        log.warning(
            "%s was trained on days up to %s, but the validation days start on %s: validation "
            "metrics are too optimistic, which biases the choice of the best epoch",
            source,
            trained or "an unknown day",
            first,
        )


def count_seen_days(lineage: Lineage, data: MarketDataModule) -> dict[str, float]:
    """Count the validation and test days that the ancestors of a model have seen.

    Returns:
        ``val/days_seen_before``: number of validation days that an ancestor was trained on.
        ``test/days_seen_before``: number of test days that were training or validation days of an
        ancestor, which ``allow_leak`` permits. NaN if unknown; zero counts are left out.
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
    """Return the latest day of all ancestors; empty without ancestors, None if one is unknown."""
    days = [ancestor[key] for ancestor in lineage]
    return None if None in days else max(days, default="")


def _first(data: MarketDataModule, segment: str) -> str:
    data.setup()
    return f"{data.market.dates[data.segments[segment][0]]:%Y-%m-%d}"


def _count(data: MarketDataModule, segment: str, last: str) -> int:
    days = data.market.dates[[*data.segments[segment]]]
    return int((days <= pd.Timestamp(last)).sum())
