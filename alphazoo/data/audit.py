"""Audits features for look-ahead: the features of a day must not depend on later days.

The audit removes later days and compares. It cannot detect look-ahead in the data themselves: if a
vendor adjusts prices backwards, the level of an old price depends on later splits and dividends,
and a feature that uses this level passes the audit; `alphazoo.features.base` says how to avoid it.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from alphazoo.data.state import MarketState
from alphazoo.errors import InputError
from alphazoo.features.base import FeatureSet
from alphazoo.market.market import Market


def find_look_ahead(
    market: Market, features: FeatureSet, *, n_days: int = 8
) -> dict[str, list[str]]:
    """Find features that use later days, by computing some days with and without the later days.

    A feature looks ahead if its two values differ by more than rounding (1e-5 of the value), or if
    one of them is NaN. The market state is audited, too, if the market has indices.

    Args:
        market: The whole history.
        features: The feature set; unscaled values are compared.
        n_days: Number of days to compare, evenly spaced over the days with members.

    Returns:
        The dates on which a column changed, by name of the column; empty without look-ahead.

    Raises:
        InputError: Too few days have members.
    """
    rows = market.present[:-1].any(dim=1).nonzero().squeeze(1)
    rows = rows[rows >= features.window]
    if not len(rows):
        raise InputError(
            f"market {market.name!r} has {len(market.dates)} days, of which too few have members "
            f"to audit windows of {features.window} days"
        )
    chosen = {int(rows[index]) for index in torch.linspace(0, len(rows) - 1, n_days).long()}
    features = copy.copy(features)
    features.cache = None  # the cache holds values of the whole history
    windows, state = features.bind(market), MarketState.of(market)
    found: dict[str, list[str]] = {}
    for row in sorted(chosen):
        past = market.until(row)
        stocks = market.present[row].nonzero().squeeze(1)
        whole = windows(row, stocks).flatten(0, 1)
        names = _changed(features.columns, whole, features.bind(past)(row, stocks).flatten(0, 1))
        names += _changed(state.columns, state.panel[[row]], MarketState.of(past).panel[[row]])
        for name in names:
            found.setdefault(name, []).append(f"{market.dates[row]:%Y-%m-%d}")
    return found


def _changed(columns: Sequence[str], whole: Tensor, past: Tensor) -> list[str]:
    """Return the names of the columns that differ between two tables [R, columns]."""
    same = torch.isclose(whole, past, rtol=1e-5, atol=1e-8, equal_nan=True).all(dim=0)
    return [name for name, agrees in zip(columns, same, strict=True) if not agrees]
