"""Weights in the loss: of days, by their age, and of stocks, by a field of the market."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from alphazoo.errors import InputError
from alphazoo.market.market import Market

log = logging.getLogger(__name__)


def day_weights(n_days: int, rows: Sequence[int], half_life: float | None) -> Tensor:
    """Return the weight of each day, [D]: 1 on average over the training days, 1 on other days.

    Args:
        n_days: D, number of days of the calendar.
        rows: Rows of the training days, in ascending order.
        half_life: Trading days after which the weight halves; None for equal weights.
    """
    weights = torch.ones(n_days)
    if half_life is not None:
        ages = rows[-1] - torch.tensor([*rows])
        decayed = torch.exp2(-ages.double() / half_life)
        weights[[*rows]] = (decayed / decayed.mean()).float()
    return weights


def stock_weights(market: Market, name: str | None) -> Tensor:
    """Return the weight of each stock by day, [D, S]; [D, 0] if all are equal.

    Args:
        market: The market.
        name: Field whose values are the weights; stocks without a value weigh nothing, and their
            number is logged. None for equal weights.

    Raises:
        InputError: The market has no such field, or a value is negative.
    """
    if name is None:
        return torch.empty(len(market.dates), 0)
    try:
        values = market.field(name)
    except InputError as error:
        raise InputError(f"label.weight={name}: {error}") from error
    weights = values.where(values.isfinite(), 0.0)
    negative = (weights < 0).nonzero()
    if len(negative):
        day, stock = negative[0].tolist()
        raise InputError(
            f"label.weight={name}: {market.symbols[stock]} has {weights[day, stock]:g} on "
            f"{market.dates[day]:%Y-%m-%d}; a weight must not be negative"
        )
    missing = int((market.present & ~values.isfinite()).sum())
    if missing:
        total = int(market.present.sum())
        log.warning("%d of %d stocks have no %s and weigh nothing", missing, total, name)
    return weights
