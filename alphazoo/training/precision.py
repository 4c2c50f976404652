"""When bfloat16 would make training faster."""

import logging

import lightning as L
import torch

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

    A GRU's products of a day are small, and stay in float32 on a CPU, see `FastGRU`.
    """
    loops = device.type == "cpu" and any(isinstance(part, FastGRU) for part in model.modules())
    return not loops and any(weight.requires_grad for weight in model.parameters())


def has_bfloat16(device: torch.device) -> bool:
    """Return whether the device has instructions for products of bfloat16."""
    if device.type == "cpu":
        cpu = torch.cpu
        return cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported()
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
