"""Cosine similarity of all pairs, as HIST and IGMTF use it."""

import torch
from torch import Tensor


def cosines(x: Tensor, y: Tensor) -> Tensor:
    """Cosine of every row of x [N, H] and every row of y [K, H]: [N, K]; 0 for a row of zeros."""
    norms = torch.outer(x.norm(dim=1), y.norm(dim=1))
    similarity: Tensor = (x @ y.T) / (norms + 1e-6)
    return similarity
