"""When bfloat16 could make training faster."""

import logging

import lightning as L
import torch

from alphazoo.models.base import StockModel

log = logging.getLogger(__name__)

NAMES = {"cpu": "CPU", "cuda": "GPU"}


def suggest_bfloat16(trainer: L.Trainer, model: StockModel) -> None:
    """Log one line if the model trains in float32 on a device that computes in bfloat16."""
    device = trainer.strategy.root_device
    has_weights = any(weight.requires_grad for weight in model.parameters())
    if has_weights and trainer.precision == "32-true" and has_bfloat16(device):
        log.info("this %s may be faster with trainer.precision=bf16-mixed", NAMES[device.type])


def has_bfloat16(device: torch.device) -> bool:
    """Return whether the device has instructions for products of bfloat16."""
    if device.type == "cpu":
        cpu = torch.cpu
        return cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported()
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
