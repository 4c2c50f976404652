"""Attribution by permutation within the day, for scores without a useful gradient.

An input is replaced by that of another stock of the same day, so that it keeps the distribution of
the day and loses what it says of the stock. The attribution is the score minus the mean score
after some permutations. Attributions by permutation do not add up to the score.
"""

import torch
from torch import Tensor

from alphazoo.data.days import DayBatch
from alphazoo.models.base import StockModel

EVALUATIONS = 200  # about as many times a day is scored for its inputs, and for its other stocks
REPEATS = 2  # permutations of an input


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
    score = model(day)[stocks]
    lags = -(-window * n_features * REPEATS // EVALUATIONS)
    values = torch.zeros(len(stocks), window, n_features)
    for end in range(window, 0, -lags):  # the newest days first, whose blocks are whole
        days = slice(max(0, end - lags), end)
        width = days.stop - days.start
        for feature in range(n_features):
            for _ in range(REPEATS):
                order = _other(n, random)
                changed = day.features.clone()
                changed[:, days, feature] = day.features[order, days, feature]
                after = model(day._replace(features=changed))[stocks]
                values[:, days, feature] += ((score - after) / REPEATS / width)[:, None]
    if not others:
        return values, values.new_full((len(stocks), n), torch.nan), lags
    return values, _replace_others(model, day, stocks, random), lags


def _replace_others(
    model: StockModel, day: DayBatch, stocks: Tensor, random: torch.Generator
) -> Tensor:
    """Return the score minus that after the features of another stock were replaced, [K, N]."""
    n = len(day.stocks)
    score = model(day)[stocks]
    others = torch.full((len(stocks), n), torch.nan)
    chosen = torch.randperm(n, generator=random)[:EVALUATIONS]
    source = _other(n, random)
    for place in sorted({*stocks.tolist(), *chosen.tolist()}):
        changed = day.features.clone()
        changed[place] = day.features[source[place]]
        others[:, place] = score - model(day._replace(features=changed))[stocks]
    return others


def _other(n: int, random: torch.Generator) -> Tensor:
    """Return a random place for each of n stocks, none of which keeps its own if n > 1."""
    order = torch.randperm(n, generator=random)
    target = torch.empty_like(order)
    target[order] = order.roll(1)  # one cycle through all stocks
    return target
