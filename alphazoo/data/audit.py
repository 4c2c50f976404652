"""Look-ahead: what a model sees of a day must not change when later days are taken away.

Taking days away does not undo what a source did to the days that stay. If a vendor adjusts prices
backwards, the level of an old price knows later splits and dividends, and a feature made of the
level passes the audit; see `alphazoo.data.features` for what to do.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from alphazoo.data.features import FeatureSet
from alphazoo.data.market import Market
from alphazoo.data.state import MarketState
from alphazoo.errors import InputError


def find_look_ahead(
    market: Market, features: FeatureSet, *, n_days: int = 8
) -> dict[str, list[str]]:
    """Compute windows and market state of some days twice: from all days and from those up to it.

    Values that differ by more than rounding (1e-5 of the value), or are known in one and unknown in
    the other, look ahead. It sees what features do with the market, not what a source did to it,
    such as adjusting prices backwards, see above.

    Args:
        market: The whole history.
        features: To be audited, unscaled, as is the state of the market where it has indices.
        n_days: Days to compare, evenly spaced over those that have members.

    Returns:
        The dates on which a column changed, by name; empty where none looks ahead.
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
    windows, state = features.bind(market), MarketState.of(market)
    found: dict[str, list[str]] = {}
    for row in sorted(chosen):
        past = market.until(row)
        stocks = market.present[row].nonzero().squeeze(1)
        seen = windows(row, stocks).flatten(0, 1)
        names = _changed(features.columns, seen, features.bind(past)(row, stocks).flatten(0, 1))
        names += _changed(state.columns, state.panel[[row]], MarketState.of(past).panel[[row]])
        for name in names:
            found.setdefault(name, []).append(f"{market.dates[row]:%Y-%m-%d}")
    return found


def _changed(columns: Sequence[str], whole: Tensor, past: Tensor) -> list[str]:
    """Names of the columns [R, columns] that differ."""
    same = torch.isclose(whole, past, rtol=1e-5, atol=1e-8, equal_nan=True).all(dim=0)
    return [name for name, agrees in zip(columns, same, strict=True) if not agrees]
