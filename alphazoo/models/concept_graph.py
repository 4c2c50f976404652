"""The graph in which stocks of a day are joined by shared concepts, used by GATs and RSR."""

import torch
from torch import Tensor

from alphazoo.data.days import DayBatch


def joined_stocks(day: DayBatch) -> tuple[Tensor, Tensor]:
    """Return which stocks share a concept or are the same, [N, N] bool, and memberships.

    Returns:
        The graph, and the memberships [N, C], 1 for members and 0 for others, as floats.

    Raises:
        InputError: The data have no concepts.
    """
    members = (day.memberships > 0).to(day.features.dtype)
    itself = torch.eye(members.shape[0], dtype=torch.bool, device=members.device)
    return (members @ members.T > 0) | itself, members
