"""Pairwise cosine similarity, used by HIST and IGMTF."""

import torch
from torch import Tensor


def cosines(x: Tensor, y: Tensor) -> Tensor:
    """Return the cosine of each row of x [N, H] with each row of y [K, H], [N, K]; 0 for zeros."""
    norms = torch.outer(x.norm(dim=1), y.norm(dim=1))
    similarity: Tensor = (x @ y.T) / (norms + 1e-6)
    return similarity
