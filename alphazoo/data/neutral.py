"""Neutral labels: the part of a day's returns that the concepts of the day do not explain."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alphazoo.data.concepts import Concepts

# residuals below this share of the largest return of the day are rounding errors: the model would
# otherwise learn the rank of a stock that is alone in its concept from the last bits of a sum
NEGLIGIBLE = 1e-12

# singular values below this share of the largest are zero: those of a matrix of zeros and ones are
# either far above it or rounding errors far below
ZERO = 1e-10

Matrix = npt.NDArray[np.float64]


def residuals(returns: Tensor, concepts: Concepts) -> Tensor:
    """Residuals of a least-squares fit of each day's returns on the memberships of the day.

    Stocks without a concept are a group of their own. Where every stock belongs to exactly one
    group, the residual is the return minus the mean of the group.

    Args:
        returns: [D, S]; stocks without a finite return take no part.
        concepts: Who belongs to what, and when; weights do not matter.

    Returns:
        [D, S]; NaN where there is no return.
    """
    result = torch.full_like(returns, torch.nan)
    for days in _same_design(returns, concepts):
        stocks = returns[days.start].isfinite().nonzero().squeeze(1)
        members = concepts.on(days.start, stocks) != 0  # [N, C]
        nobody = ~members.any(dim=1, keepdim=True)
        groups = torch.cat([members, nobody], dim=1)
        design = groups[:, groups.any(dim=0)].double().numpy()
        x = returns[days.start : days.stop, stocks].double().T.numpy()  # [N, d]
        rest = x - _explained(design, x)
        rest[np.abs(rest) <= NEGLIGIBLE * np.abs(x).max(axis=0, initial=0.0)] = 0.0
        result[days.start : days.stop, stocks] = torch.from_numpy(rest.T).to(returns.dtype)
    return result


def _same_design(returns: Tensor, concepts: Concepts) -> Iterator[range]:
    """Runs of days with the same stocks and the same memberships, which are solved together."""
    known = returns.isfinite()
    changes = torch.ones(len(returns) + 1, dtype=torch.bool)
    changes[1:-1] = (known[1:] != known[:-1]).any(dim=1)
    ends = torch.cat([concepts.first, concepts.last + 1])
    changes[ends[(ends > 0) & (ends < len(returns))]] = True
    rows = changes.nonzero().squeeze(1).tolist()
    return (range(first, after) for first, after in pairwise(rows))


def _explained(groups: Matrix, x: Matrix) -> Matrix:
    """Fitted values [N, d] of each column of x [N, d] on groups [N, C] of zeros and ones.

    Groups that overlap, such as sectors and industries, are rarely of full rank. NumPy solves by
    singular values (LAPACK's ``gelsd``). ``torch.linalg.lstsq(driver="gelsy")`` reads an
    uninitialised array of pivots and is wrong at random (pytorch#187411, #92537).
    """
    if (groups.sum(axis=1) == 1).all():
        means: Matrix = groups.T @ x / groups.sum(axis=0)[:, None]
        return groups @ means
    fitted: Matrix = groups @ np.linalg.lstsq(groups, x, rcond=ZERO)[0]
    return fitted
