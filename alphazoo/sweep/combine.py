"""Parse the overrides of a benchmark: keys that are combined, and keys that are set once."""

import math
from collections.abc import Collection, Sequence
from typing import Any

from hydra.core.override_parser.types import Override

from alphazoo.errors import InputError, did_you_mean, shorten

COMBINED = ("model", "features", "seed")
REFUSED = {
    "experiment": "model and features determine it",
    "folder": "out=FOLDER sets the folder of all runs",
}

Pair = tuple[str, str]  # a feature set and a model


def read_budget(given: Any) -> float:
    """Return the fraction of the published epochs; raise an `InputError` if it is invalid."""
    try:
        budget = float(given)
    except (TypeError, ValueError):
        budget = math.nan
    if not 0 < budget < math.inf:
        raise InputError(
            f"budget must be a positive fraction of the published epochs, such as 0.05, got {given}"
        )
    return budget


def read_single(key: str, given: Override) -> str:
    """Return the one value of a key; raise an `InputError` if it has several or cannot be set."""
    if key in REFUSED:
        raise InputError(f"{key} cannot be set in a benchmark: {REFUSED[key]}")
    if given.is_sweep_override():
        raise InputError(
            f"a benchmark combines only {', '.join(COMBINED)}, got {given.input_line}: use "
            "alphazoo train -m to combine other keys"
        )
    return given.get_value_element_as_str()


def read_values(given: Override) -> list[str]:
    """Return the distinct values of a key; raise an `InputError` if they cannot be listed."""
    if not given.is_sweep_override():
        return [given.get_value_element_as_str()]
    if not given.is_discrete_sweep():
        raise InputError(f"expected a list such as seed=0,1,2, got {given.input_line}")
    return [*dict.fromkeys(given.sweep_string_iterator())]


def read_pairs(
    features: Sequence[str], models: Sequence[str], published: Collection[str]
) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs with published settings, and those without.

    Raises:
        InputError: A feature set or model has no published settings at all, or no pair has any.
    """
    parts = [name.partition("_") for name in published]
    for name in features:
        if not any(known.startswith(f"{name}_") for known in published):
            hint = did_you_mean(name, {part[0] for part in parts})
            raise InputError(f"no published settings for features {name!r}; {hint}")
    for name in models:
        if not any(known.endswith(f"_{name}") for known in published):
            hint = did_you_mean(name, {part[2] for part in parts})
            raise InputError(f"no published settings for model {name!r}; {hint}")
    pairs = [(f, model) for f in features for model in models]
    present = [pair for pair in pairs if "_".join(pair) in published]
    absent = [pair for pair in pairs if pair not in present]
    if not present:
        known = [name for name in published if name.startswith(tuple(f"{f}_" for f in features))]
        raise InputError(
            f"no published settings for {shorten(map('_'.join, absent))}; available: "
            f"{shorten(sorted(known), 20)}"
        )
    return present, absent
