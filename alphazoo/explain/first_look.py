"""One picture of what a model looks at, for the report of its run: what costs one forward pass."""

from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig

from alphazoo.config import instantiate
from alphazoo.data.module import MarketDataModule
from alphazoo.evaluation.report import Section
from alphazoo.explain.show import show_parts
from alphazoo.explain.subject import ATTRIBUTION, Subject
from alphazoo.models.base import StockModel
from alphazoo.models.checkpoint import read_checkpoint

DEAR = ("neighbours", ATTRIBUTION)  # they need all training days, or many passes


def first_look(config: DictConfig, data: MarketDataModule) -> Sequence[Section]:
    """Return a section of the report with one figure; none if the model shows nothing cheaply.

    Args:
        config: Config of a run that has just ended.
        data: Its data.
    """
    checkpoint = Path(config.folder) / "checkpoints" / "best.ckpt"
    if not checkpoint.is_file():  # a walk forward has one for each window
        return []
    model: StockModel = instantiate(config.model).eval()
    subject = Subject(config, model, data, data.segments["test"][-1:])
    kinds = [kind for kind in subject.shows if kind not in DEAR][:1]
    if not kinds or "neighbours" in model.shows:
        return []
    model.load_state_dict(read_checkpoint(checkpoint)["state_dict"])
    model.build_memory(data.days("train"))
    day = subject.day(subject.rows[-1])
    with torch.no_grad():
        part = show_parts(subject, day, model(day), kinds, [0])[0]
    name = next(iter(part.figures))
    note = f"alphazoo explain run={config.folder} shows more, and checks it with checks=true."
    return [
        Section(
            "What the model looks at",
            [note],
            [(name, part.figures[name])],
            captions={name: part.captions[name]},
        )
    ]
