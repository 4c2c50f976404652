"""When bfloat16 would make training faster."""

import logging

import lightning as L
import torch
from torch import nn

from alphazoo.models.base import StockModel
from alphazoo.models.recurrence import FastGRU

log = logging.getLogger(__name__)

NAMES = {"cpu": "CPU", "cuda": "GPU"}


def suggest_bfloat16(trainer: L.Trainer, model: StockModel) -> None:
    """Log one line if the model trains in float32 and would be faster in bfloat16."""
    device = trainer.strategy.root_device
    if trainer.precision == "32-true" and has_bfloat16(device) and _gains(model, device):
        log.info("this %s is faster in bfloat16: trainer.precision=bf16-mixed", NAMES[device.type])


def _gains(model: StockModel, device: torch.device) -> bool:
    """Return whether large products take up the time of a training step.

    On a CPU, those of a GRU are of a day each, and stay in float32, see `FastGRU`.
    """
    loops = [part for part in model.modules() if isinstance(part, FastGRU)]
    slow = sum(map(_count, loops)) if device.type == "cpu" else 0
    return _count(model) > 2 * slow


def _count(part: nn.Module) -> int:
    return sum(weight.numel() for weight in part.parameters() if weight.requires_grad)


def has_bfloat16(device: torch.device) -> bool:
    """Return whether the device has instructions for products of bfloat16."""
    if device.type == "cpu":
        cpu = torch.cpu
        return cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported()
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
