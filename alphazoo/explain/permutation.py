"""Attribution by permutation within the day, for scores without a useful gradient.

An input is replaced by that of another stock of the same day, so that it keeps the distribution of
the day and loses what it says of the stock. The attribution is the score minus the mean score
after some permutations. Attributions by permutation do not add up to the score.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from alphazoo.data.days import DayBatch
from alphazoo.features.threads import map_threads
from alphazoo.models.base import StockModel

EVALUATIONS = 200  # about as many times a day is scored for its inputs, and for its other stocks
REPEATS = 2  # permutations of an input


class _Change(NamedTuple):
    """Features that are replaced by those of other stocks.

    Attributes:
        stocks: Places of the stocks whose features are replaced.
        sources: Places of the stocks whose features they get.
        days: Days of the window.
        features: Features, all or one.
    """

    stocks: slice | int
    sources: Tensor | int
    days: slice = slice(None)
    features: slice | int = slice(None)


@torch.no_grad()
def permute(
    model: StockModel, day: DayBatch, stocks: Tensor, others: bool, seed: int
) -> tuple[Tensor, Tensor, int]:
    """Attribute scores to features and days of the window, and to other stocks.

    An input is permuted for all stocks at once. Neighbouring days of the window are permuted
    together if a day would have to be scored more than about 200 times, and of more than 200 other
    stocks a random choice is replaced.

    Args:
        model: The model.
        day: The day.
        stocks: [K], places of the stocks in the day.
        others: Whether to replace other stocks, too.
        seed: Seed of the permutations.

    Returns:
        Attributions [K, T, F], spread evenly over days that were permuted together; attributions
        to all inputs of other stocks, [K, N], NaN for those that were not replaced; and the number
        of days permuted together.
    """
    random = torch.Generator().manual_seed(seed)
    n, window, n_features = day.features.shape
    lags = -(-window * n_features * REPEATS // EVALUATIONS)
    ends = range(window, 0, -lags)  # the newest days first, whose blocks are whole
    inputs = [
        _Change(slice(None), _other(n, random), slice(max(0, end - lags), end), feature)
        for end in ends
        for feature in range(n_features)
        for _ in range(REPEATS)
    ]
    replaced: list[_Change] = []
    if others:
        chosen = torch.randperm(n, generator=random)[:EVALUATIONS]
        source = _other(n, random).tolist()
        places = sorted({*stocks.tolist(), *chosen.tolist()})
        replaced = [_Change(place, source[place]) for place in places]
    lost = model(day)[stocks] - _score(model, day, [*inputs, *replaced])[:, stocks]
    values = torch.zeros(len(stocks), window, n_features)
    for change, part in zip(inputs, lost, strict=False):
        width = change.days.stop - change.days.start
        values[:, change.days, change.features] += (part / REPEATS / width)[:, None]
    found = torch.full((len(stocks), n), torch.nan)
    for change, part in zip(replaced, lost[len(inputs) :], strict=True):
        found[:, change.stocks] = part
    return values, found, lags


def _score(model: StockModel, day: DayBatch, changes: Sequence[_Change]) -> Tensor:
    """Return the scores [changes, N] of a day after each change alone."""

    @torch.no_grad()
    def score(change: _Change) -> Tensor:
        features = day.features.clone()
        features[change.stocks, change.days, change.features] = day.features[
            change.sources, change.days, change.features
        ]
        scores: Tensor = model(day._replace(features=features))
        return scores

    return torch.stack(map_threads(score, changes))


def _other(n: int, random: torch.Generator) -> Tensor:
    """Return a random place for each of n stocks, none of which keeps its own if n > 1."""
    order = torch.randperm(n, generator=random)
    target = torch.empty_like(order)
    target[order] = order.roll(1)  # one cycle through all stocks
    return target
