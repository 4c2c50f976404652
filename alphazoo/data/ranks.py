"""Ranks of stocks within a day."""

import torch
from torch import Tensor

RANK_SCALE = 3.46  # a uniform variable on an interval of this length has a variance of about 1


def percentile_ranks(x: Tensor) -> Tensor:
    """Return the rank of each value among the known values of the last dimension, in (0, 1].

    As in pandas' ``rank(pct=True)``, equal values share the mean of their ranks.

    Args:
        x: [..., N]; NaN where unknown.

    Returns:
        [..., N], NaN where x is.
    """
    known = ~x.isnan()
    filled = torch.where(known, x, torch.inf).contiguous()
    ordered = filled.sort(dim=-1).values
    below = torch.searchsorted(ordered, filled, right=False)
    upto = torch.searchsorted(ordered, filled, right=True)
    ranks = (below + upto + 1) / 2 / known.sum(dim=-1, keepdim=True)
    return torch.where(known, ranks, torch.nan)


def scaled_ranks(x: Tensor) -> Tensor:
    """Return (percentile rank - 0.5) * 3.46, [..., N], see `percentile_ranks`."""
    return (percentile_ranks(x) - 0.5) * RANK_SCALE
