"""Parse the search space of a sweep from Hydra overrides."""

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from alphazoo.errors import InputError, check_choice

Space = dict[str, BaseDistribution]


def parse_space(overrides: Sequence[Override]) -> Space:
    """Return the distribution of each key that is searched.

    Args:
        overrides: ``model.lr=tag(log, interval(1e-4, 1e-2))``, ``int(interval(16, 64))`` (both ends
            included), ``range(1, 4)``, ``choice(32, 64)``, or ``32,64`` for short.

    Raises:
        InputError: There are no overrides, or Optuna cannot sample from one.
    """
    if not overrides:
        raise InputError(
            "nothing to search: give hydra.sweeper.params, or on the command line "
            "'model.lr=interval(1e-4,1e-2)'"
        )
    space = {}
    for override in overrides:
        try:
            space[override.get_key_element()] = _distribution(override)
        except ValueError as error:
            raise InputError(f"cannot search {override.input_line}: {error}") from error
    return space


def _distribution(override: Override) -> BaseDistribution:
    sweep = override.value()
    tags: set[str] = getattr(sweep, "tags", set())
    for tag in tags:
        check_choice("tag", tag, ["log"])
    if isinstance(sweep, IntervalSweep):
        made = IntDistribution if isinstance(sweep.start, int) else FloatDistribution
        return made(sweep.start, sweep.end, log="log" in tags)  # type: ignore[arg-type]
    if tags:
        raise InputError("tag log is only for intervals")
    if isinstance(sweep, RangeSweep):
        values = [*sweep.range()]
        if values and all(isinstance(value, int) for value in values):
            return IntDistribution(values[0], values[-1], step=int(sweep.step))
        if values:
            return FloatDistribution(float(values[0]), float(values[-1]), step=float(sweep.step))
    return CategoricalDistribution([*override.sweep_string_iterator()])


def sample_point(space: Space, index: int = 0) -> list[str]:
    """Return the overrides of one point of a space, to check that a config accepts them.

    Args:
        space: The space.
        index: Even for the low ends and odd for the high ends; the points below
            `n_sample_points` include every choice.
    """

    def value(found: Any) -> Any:
        if isinstance(found, CategoricalDistribution):
            return found.choices[index % len(found.choices)]
        return found.high if index % 2 else found.low

    return [f"{key}={value(found)}" for key, found in space.items()]


def n_sample_points(space: Space) -> int:
    """Return the number of points that together include both ends and every choice."""
    return max(len(getattr(found, "choices", (0, 1))) for found in space.values())
