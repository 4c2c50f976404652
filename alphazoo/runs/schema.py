"""Types of the settings whose types are in no signature: keys of a run, groups without a target.

Also here are types that are narrower than those of the signatures of other packages.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Predicate

from alphazoo.bounds import Fraction, NonNegativeFloat, NonNegativeInt, PositiveInt

Place = tuple[Any, ...]  # names and positions that lead to a value: ("trainer", "callbacks", 1)

HYDRA_KEYS: Mapping[str, Any] = {
    "_target_": Any,
    "_partial_": bool,
    "_convert_": Literal["none", "partial", "object", "all"],
    "_recursive_": bool,
    "_args_": list[Any],
}
# nodes that a config must have
NODES = ("features", "scaler", "model", "optimizer", "trainer", "label", "datamodule")
OWN = ("label", "datamodule")  # nodes that belong to no group
OPTIONAL = ("loss", "averaging", "backtest", "walk_forward", "scheduler")  # {} for none
RUN: Mapping[str, Any] = {
    "seed": Annotated[int, Ge(0), Le(2**32 - 1)],
    "folder": str,
    "ckpt": str | None,
    "init_from": str | None,
    "allow_leak": bool,
    "monitor": str,
    "mode": Literal["min", "max"],
    "patience": NonNegativeInt,
    "days_per_step": PositiveInt,
    "report": bool,
}
GROUPS: Mapping[str, Mapping[str, Any]] = {  # {} for none
    "child_of": {"run": str, "checkpoint": str, "digest": str, "replay": Fraction},  # an update
    "walk_forward": {"months": PositiveInt, "rolling": bool, "warm_start": bool},
    "scheduler": {  # Lightning's LRSchedulerConfig, which has types but takes everything
        "scheduler": Any,
        "interval": Literal["epoch", "step"],
        "frequency": PositiveInt,
        "monitor": str | None,
        "strict": bool,
        "name": str | None,
        "reduce_on_plateau": bool,
    },
}


def _are_indices(text: str) -> bool:
    return re.fullmatch(r"-1|\d+(, *\d+)*,?", text) is not None


DEVICES = Annotated[str, Predicate(_are_indices), "text such as '0,1'"]
NARROWER: Mapping[Place, Any] = {  # than the signatures of Lightning and torch
    ("trainer", "max_epochs"): Literal[-1] | PositiveInt | None,  # -1: until patience ends it
    ("trainer", "num_nodes"): PositiveInt,
    ("trainer", "accumulate_grad_batches"): PositiveInt,
    ("trainer", "gradient_clip_val"): NonNegativeFloat | None,
    ("trainer", "log_every_n_steps"): NonNegativeInt | None,
    ("scheduler", "scheduler", "step_size"): PositiveInt,
    ("scheduler", "scheduler", "T_max"): PositiveInt,
    ("trainer", "devices"): Literal["auto"] | int | list[int] | DEVICES,
}
