"""Where the concepts of a market come from: a table, the training days, or a synthetic market."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from alphazoo.bounds import PositiveInt
from alphazoo.errors import InputError
from alphazoo.market.concept_table import read_concepts
from alphazoo.market.concepts import Concepts, ConceptSource, always, is_data
from alphazoo.market.market import Market

log = logging.getLogger(__name__)


def find_concepts(
    source: str | Path | ConceptSource | None, market: Market, train: Sequence[int]
) -> Concepts:
    """Return the concepts of a market from a source.

    Args:
        source: A table, see `read_concepts`, a function, or None for no concepts.
        market: The market.
        train: Rows of the training days.

    Raises:
        InputError: The concepts cannot be read or computed.
    """
    if not source:
        return no_concepts(market, train)
    if isinstance(source, str | Path | int):
        return read_concepts(market, train, table=source)
    try:
        return source(market, train)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"cannot create the concepts: {error}") from error


@is_data
def no_concepts(market: Market, train: Sequence[int]) -> Concepts:
    """Return no concepts: C = 0."""
    empty = np.empty(0, dtype=np.int64)
    return always([], empty, empty, market)


def correlation_groups(
    market: Market, train: Sequence[int], *, n_groups: int, min_days: PositiveInt
) -> Concepts:
    """Group stocks by the correlation of their returns on the training days.

    Ward's hierarchical clustering is applied to daily returns minus the mean over the day's
    universe members. Each stock's vector of returns is scaled to length 1, so that the squared
    distance of two stocks is 2 - 2 times their correlation. Only returns on days on which the stock
    is a universe member are used. Indices have no group, and do not affect others.

    Args:
        market: Gives closes and members.
        train: Rows of the training days; no other days are used.
        n_groups: Number of groups.
        min_days: Stocks with fewer such returns have no group.

    Raises:
        InputError: Fewer than ``n_groups`` stocks have ``min_days`` returns.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    days = slice(min(train), max(train) + 1)
    close, members = market.field("close")[days], market.members[days]  # [D, S]
    used = close[1:].isfinite() & close[:-1].isfinite() & members[1:]
    grouped = used.sum(dim=0) >= min_days
    grouped &= torch.tensor([symbol not in market.indices for symbol in market.symbols])
    stocks = grouped.nonzero().squeeze(1)
    if not 1 <= n_groups <= len(stocks):
        raise InputError(
            f"data.concepts.n_groups={n_groups}, but the number of stocks with {min_days} returns "
            f"on training days on which they are universe members is {len(stocks)}"
        )
    close = close[:, stocks].double()
    returns = (close[1:] / close[:-1] - 1).where(used[:, stocks], torch.nan)
    returns = (returns - returns.nanmean(dim=1, keepdim=True)).nan_to_num()
    unit = returns / returns.norm(dim=0).clamp_min(1e-12)
    groups = fcluster(linkage(unit.T.numpy(), "ward"), n_groups, "maxclust") - 1
    sizes = np.bincount(groups)
    log.info("concepts: %d groups of %d to %d stocks", len(sizes), sizes.min(), sizes.max())
    names = [f"group {number}" for number in range(len(sizes))]
    return always(names, stocks.numpy(), groups.astype(np.int64), market)


@is_data
def planted_sectors(market: Market, train: Sequence[int]) -> Concepts:
    """Return the sectors of a synthetic market.

    Raises:
        InputError: The market is not synthetic.
    """
    if market.planted is None:
        raise InputError(
            f"market {market.name!r} is not synthetic, so it has no planted sectors: choose other "
            "concepts"
        )
    sectors = market.planted.sectors.numpy()
    names = [f"sector {number}" for number in range(sectors.max() + 1)]
    return always(names, np.arange(len(sectors)), sectors, market)
