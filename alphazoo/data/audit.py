"""Look-ahead: features of a day must not change when the days after it are taken away."""

import copy

import torch

from alphazoo.data.features import FeatureSet
from alphazoo.data.market import Market
from alphazoo.errors import InputError


def find_look_ahead(
    market: Market, features: FeatureSet, *, n_days: int = 8
) -> dict[str, list[str]]:
    """Compute the windows of some days twice, from all of the history and from that day's past.

    Values that differ by more than rounding (1e-5 of the value), or are known in one and unknown in
    the other, look ahead. It sees what features do with the market, not what a source did to it.

    Args:
        market: The whole history.
        features: To be audited, unscaled.
        n_days: Days to compare, evenly spaced over those that have members.

    Returns:
        The dates on which a feature changed, by name; empty where none looks ahead.
    """
    rows = market.present[:-1].any(dim=1).nonzero().squeeze(1)
    rows = rows[rows >= features.window]
    if not len(rows):
        raise InputError(
            f"market {market.name!r} has {len(market.dates)} days: too few with members to audit "
            f"windows of {features.window}"
        )
    chosen = {int(rows[place]) for place in torch.linspace(0, len(rows) - 1, n_days).long()}
    features = copy.copy(features)
    features.cache = None  # which would bring values of the whole history
    windows = features.bind(market)
    found: dict[str, list[str]] = {}
    for row in sorted(chosen):
        stocks = market.present[row].nonzero().squeeze(1)
        whole = windows(row, stocks)
        past = features.bind(market.until(row))(row, stocks)
        same = torch.isclose(whole, past, rtol=1e-5, atol=1e-8, equal_nan=True)
        for name, agrees in zip(features.columns, same.all(dim=0).all(dim=0), strict=True):
            if not agrees:
                found.setdefault(name, []).append(f"{market.dates[row]:%Y-%m-%d}")
    return found
