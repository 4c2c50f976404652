"""Warm start: initialise a model, or its encoder alone, from a trained model."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphazoo.data.lineage import check_lineage, extend_lineage
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError, shorten
from alphazoo.models.base import StockModel
from alphazoo.models.checkpoint import read_checkpoint
from alphazoo.models.named import NamedModel

log = logging.getLogger(__name__)


def warm_start(
    model: StockModel, path: str | Path, data: MarketDataModule, *, allow_leak: bool = False
) -> None:
    """Copy the encoder of a checkpoint, and record its lineage in ``model.lineage``.

    Args:
        model: A model with an ``encoder`` of the same sizes.
        path: Checkpoint of a model with an encoder, such as an LSTM or a GRU.
        data: Data that the model will be trained and tested on.
        allow_leak: Accept a checkpoint that saw test days or whose days are unknown, see
            `alphazoo.data.lineage.check_lineage`.

    Raises:
        InputError: The file is not a checkpoint, its encoder does not fit, it was made with other
            features, or it has seen test days.
    """
    checkpoint = read_checkpoint(path)
    seen = checkpoint.get("MarketDataModule", {})
    columns = seen.get("columns")
    if columns is not None and columns != list(data.features.columns):
        raise InputError(
            f"init_from={path} was made with the features {shorten(columns)}, here they are "
            f"{shorten(data.features.columns)}"
        )
    lineage = extend_lineage(checkpoint, "init_from", path)
    check_lineage(lineage, data, source=f"init_from={path}", allow_leak=allow_leak)
    _copy_encoder(model, checkpoint["state_dict"], path)
    model.lineage = lineage
    base = lineage[-1]
    log.info("encoder of %s (%s), which saw days up to %s", path, base["model"], base["seen"])


def continue_from(
    file: str, model: StockModel, data: MarketDataModule, how: str, *, allow_leak: bool
) -> None:
    """Load all weights and the lineage of a checkpoint of the same model.

    Args:
        file: The checkpoint.
        model: The model.
        data: Data that the model will be trained and tested on.
        how: What the lineage names it, see `alphazoo.data.lineage.extend_lineage`.
        allow_leak: See `warm_start`.

    Raises:
        InputError: The weights belong to other stocks or concepts, or have seen test days.
    """
    checkpoint = read_checkpoint(file)
    lineage = extend_lineage(checkpoint, how, file)
    check_lineage(lineage, data, source=f"{how} from {file}", allow_leak=allow_leak)
    model.on_load_checkpoint(checkpoint)  # refuses other names than those of the weights
    if isinstance(model, NamedModel) and model.of_concepts and data.computes_concepts:
        raise InputError(
            f"{how} from {file}: {type(model).__name__} has weights for each concept, but the "
            "concepts are computed anew from other training days: use a table (data.concepts=FILE)"
        )
    model.load_state_dict(checkpoint["state_dict"])
    model.lineage = lineage


def _copy_encoder(model: StockModel, state: Mapping[str, Any], path: str | Path) -> None:
    kind, ours = type(model).__name__, model.state_dict()
    expected = {name for name in ours if name.startswith("encoder.")}
    given = {name for name in state if name.startswith("encoder.")}
    if not expected:
        raise InputError(f"init_from={path}: {kind} has no encoder to initialise")
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
                "the same as in the checkpoint"
            )
    model.load_state_dict({name: state[name] for name in expected}, strict=False)
