"""Settings of the trainer that Lightning accepts, but with which a run has no result."""

import os
from typing import Any

import torch
from omegaconf import DictConfig

from alphazoo.errors import InputError

LIMITS = ("limit_train_batches", "limit_val_batches", "limit_test_batches")


def check_trainer(trainer: DictConfig) -> None:
    """Refuse settings of the trainer with which a run trains or scores nothing, or never starts.

    Raises:
        InputError: Names the setting.
    """
    if trainer.get("fast_dev_run"):
        raise InputError(
            f"trainer.fast_dev_run={trainer.fast_dev_run}: it keeps no checkpoint, so nothing can "
            "be scored; trainer=debug is a run of a few days"
        )
    if trainer.get("max_steps") == 0:
        raise InputError("trainer.max_steps=0: nothing would be trained; expected 1 or more")
    for name in LIMITS:
        if trainer.get(name) == 0:
            segment = name.split("_")[1].replace("val", "validation")
            raise InputError(f"trainer.{name}=0: no {segment} day is left; expected 1 or more")
    _check_processors(trainer.get("accelerator"), trainer.get("devices"))


def _check_processors(accelerator: str | None, devices: Any) -> None:
    """On a CPU, Lightning starts any number of processes, which then wait for each other."""
    on_cpu = accelerator == "cpu" or (
        accelerator == "auto" and not torch.accelerator.is_available()
    )
    count = os.cpu_count() or 1
    if (
        on_cpu
        and isinstance(devices, int | str)
        and str(devices).isdigit()
        and int(devices) > count
    ):
        raise InputError(
            f"trainer.devices={devices}: this machine has {count} processors; one device uses all "
            "of them already"
        )
