"""What a benchmark is asked for, in the words of Hydra: what is combined, and what is set once."""

import math
from collections.abc import Collection, Sequence
from typing import Any

from hydra.core.override_parser.types import Override

from alphazoo.errors import InputError, did_you_mean, shorten

COMBINED = ("model", "features", "seed")
REFUSED = {
    "experiment": "model and features choose it",
    "folder": "out=FOLDER is that of all runs",
}

Pair = tuple[str, str]  # a feature set and a model


def read_budget(given: Any) -> float:
    """The share of the published epochs; an `InputError` where it is none."""
    try:
        budget = float(given)
    except (TypeError, ValueError):
        budget = math.nan
    if not 0 < budget < math.inf:
        raise InputError(
            f"the budget is a share of the published epochs, such as 0.05, got {given}"
        )
    return budget


def read_single(key: str, given: Override) -> str:
    """The value of a key that all jobs share; an `InputError` where it cannot be set or is many."""
    if key in REFUSED:
        raise InputError(f"{key} cannot be set in a benchmark: {REFUSED[key]}")
    if given.is_sweep_override():
        raise InputError(
            f"a benchmark combines {', '.join(COMBINED)}, got {given.input_line}: "
            "alphazoo train -m combines any keys"
        )
    return given.get_value_element_as_str()


def read_values(given: Override) -> list[str]:
    """What is combined of a key, each once; an `InputError` where that is no list."""
    if not given.is_sweep_override():
        return [given.get_value_element_as_str()]
    if not given.is_discrete_sweep():
        raise InputError(f"{given.input_line} is no list, such as seed=0,1,2")
    return [*dict.fromkeys(given.sweep_string_iterator())]


def read_pairs(
    features: Sequence[str], models: Sequence[str], published: Collection[str]
) -> tuple[list[Pair], list[Pair]]:
    """Pairs that have published settings, and those that have none.

    Raises:
        InputError: A name is in no published settings, or no pair has any.
    """
    parts = [name.partition("_") for name in published]
    for name in features:
        if not any(known.startswith(f"{name}_") for known in published):
            hint = did_you_mean(name, {part[0] for part in parts})
            raise InputError(f"no published settings on features {name!r}; {hint}")
    for name in models:
        if not any(known.endswith(f"_{name}") for known in published):
            hint = did_you_mean(name, {part[2] for part in parts})
            raise InputError(f"no published settings of model {name!r}; {hint}")
    pairs = [(f, model) for f in features for model in models]
    asked = [pair for pair in pairs if "_".join(pair) in published]
    absent = [pair for pair in pairs if pair not in asked]
    if not asked:
        there = [name for name in published if name.startswith(tuple(f"{f}_" for f in features))]
        raise InputError(
            f"no published settings of {shorten(map('_'.join, absent))}; there is "
            f"{shorten(sorted(there), 20)}"
        )
    return asked, absent
