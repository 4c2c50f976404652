"""Warm start: the encoder of a trained model as the beginning of another."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError, shorten
from alphazoo.files import read_checkpoint
from alphazoo.models.base import StockModel

log = logging.getLogger(__name__)


def warm_start(
    model: StockModel, path: str | Path, data: MarketDataModule, *, allow_leak: bool = False
) -> None:
    """Copy the encoder of a checkpoint, and record in ``model.base`` where it came from.

    Args:
        model: With an ``encoder`` of the same sizes.
        path: A checkpoint of a model with an encoder, such as an LSTM or a GRU.
        data: The days that the model will learn from and be tested on.
        allow_leak: Accept a base that saw days of the test segment, or whose days nobody knows.

    Raises:
        InputError: The file is no checkpoint, its encoder does not fit, it was made with other
            features, or it has seen days of the test segment.
    """
    checkpoint = read_checkpoint(path)
    seen = checkpoint.get("MarketDataModule", {})
    columns = seen.get("columns")
    if columns is not None and columns != list(data.features.columns):
        raise InputError(
            f"init_from={path}: its features are {shorten(columns)}, here they are "
            f"{shorten(data.features.columns)}"
        )
    last = last_day_seen(checkpoint)
    data.setup()
    first = f"{data.market.dates[data.segments['test'][0]]:%Y-%m-%d}"
    if not allow_leak and (last is None or last >= first):
        fault = "does not say what days it saw" if last is None else f"saw days up to {last}"
        raise InputError(
            f"init_from={path} {fault}, and the test days start on {first}: the test would be of "
            "days that are known already (allow_leak=true takes it all the same)"
        )
    _copy_encoder(model, checkpoint["state_dict"], path)
    model.base = {
        "checkpoint": str(path),
        "model": checkpoint["alphazoo"]["model"],
        "last_day": last,
    }
    log.info("encoder of %s (%s), which saw days up to %s", path, model.base["model"], last)


def last_day_seen(checkpoint: Mapping[str, Any]) -> str | None:
    """The last day, YYYY-MM-DD, that a model or its base was trained on or chosen by.

    None if nobody knows.
    """
    days = checkpoint.get("MarketDataModule", {}).get("days")
    if not days:
        return None
    ends = [days[segment][1] for segment in ("train", "valid")]
    base = checkpoint["alphazoo"]["base"]
    if base is not None:
        if base["last_day"] is None:
            return None
        ends.append(base["last_day"])
    return str(max(ends))


def _copy_encoder(model: StockModel, state: Mapping[str, Any], path: str | Path) -> None:
    kind, ours = type(model).__name__, model.state_dict()
    expected = {name for name in ours if name.startswith("encoder.")}
    given = {name for name in state if name.startswith("encoder.")}
    if not expected:
        raise InputError(f"init_from: {kind} has no encoder that could start from a base")
    if expected != given:
        raise InputError(
            f"init_from={path} does not fit {kind}: missing "
            f"{shorten(sorted(expected - given)) or 'none'}; "
            f"unknown {shorten(sorted(given - expected)) or 'none'}"
        )
    for name in sorted(expected):
        if state[name].shape != ours[name].shape:
            raise InputError(
                f"init_from={path} does not fit {kind}: {name} is {[*state[name].shape]}, here it "
                f"is {[*ours[name].shape]}; cell, hidden_size, num_layers and features must be "
                "those of the base"
            )
    model.load_state_dict({name: state[name] for name in expected}, strict=False)
