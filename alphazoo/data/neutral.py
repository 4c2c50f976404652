"""Neutralises labels: removes the part of a day's returns that concepts explain."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alphazoo.market.concepts import Concepts

# Residuals below this share of the day's largest return are rounding errors and set to zero.
# Otherwise the label of a stock that is alone in its concept would be the rank of such an error.
NEGLIGIBLE = 1e-12

# Singular values below this share of the largest are treated as zero. The nonzero singular values
# of a matrix of zeros and ones are far larger, and rounding errors are far smaller.
ZERO = 1e-10

Matrix = npt.NDArray[np.float64]


def residuals(returns: Tensor, concepts: Concepts) -> Tensor:
    """Return the residuals of a least-squares fit of each day's returns on its memberships.

    Stocks without a concept form a group of their own. If every stock belongs to exactly one group,
    the residual is the return minus the mean of the group.

    Args:
        returns: [D, S]; stocks without a finite return are excluded from the fit.
        concepts: Memberships by day; their weights are ignored.

    Returns:
        [D, S]; NaN where the return is missing.
    """
    result = torch.full_like(returns, torch.nan)
    for days in _same_design(returns, concepts):
        stocks = returns[days.start].isfinite().nonzero().squeeze(1)
        members = concepts.on(days.start, stocks) != 0  # [N, C]
        ungrouped = ~members.any(dim=1, keepdim=True)
        groups = torch.cat([members, ungrouped], dim=1)
        design = groups[:, groups.any(dim=0)].double().numpy()
        x = returns[days.start : days.stop, stocks].double().T.numpy()  # [N, d]
        residual = x - _fit(design, x)
        residual[np.abs(residual) <= NEGLIGIBLE * np.abs(x).max(axis=0, initial=0.0)] = 0.0
        result[days.start : days.stop, stocks] = torch.from_numpy(residual.T).to(returns.dtype)
    return result


def _same_design(returns: Tensor, concepts: Concepts) -> Iterator[range]:
    """Yield ranges of days with the same stocks and memberships, which are solved together."""
    known = returns.isfinite()
    changes = torch.ones(len(returns) + 1, dtype=torch.bool)
    changes[1:-1] = (known[1:] != known[:-1]).any(dim=1)
    ends = torch.cat([concepts.first, concepts.last + 1])
    changes[ends[(ends > 0) & (ends < len(returns))]] = True
    rows = changes.nonzero().squeeze(1).tolist()
    return (range(first, after) for first, after in pairwise(rows))


def _fit(groups: Matrix, x: Matrix) -> Matrix:
    """Return the fitted values [N, d] of each column of x [N, d] on indicators of groups [N, C].

    Overlapping groups, such as sectors and industries, rarely have full rank. NumPy uses a singular
    value decomposition (LAPACK's ``gelsd``). ``torch.linalg.lstsq(driver="gelsy")`` reads an
    uninitialised array of pivots and is randomly wrong (pytorch#187411, #92537).
    """
    if (groups.sum(axis=1) == 1).all():
        means: Matrix = groups.T @ x / groups.sum(axis=0)[:, None]
        return groups @ means
    fitted: Matrix = groups @ np.linalg.lstsq(groups, x, rcond=ZERO)[0]
    return fitted
