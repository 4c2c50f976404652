"""Sums over all pairs of stocks, in blocks of rows: memory does not grow with N squared."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

PAIRS = 1_000_000  # pairs of a block, at most; 4 MB per matrix in float32


def map_rows(rows: Callable[[slice], Tensor], n: int) -> Tensor:
    """Return the results of blocks of rows, concatenated.

    If there are several blocks, their matrices are not kept for the backward pass, but computed
    again there, one block at a time.

    Args:
        rows: Returns one value per row of a block [B]; may create matrices [B, n].
        n: Number of rows, and of columns of the matrices.
    """
    size = max(PAIRS // max(n, 1), 1)
    if n <= size:
        return rows(slice(0, n))
    blocks = [slice(start, start + size) for start in range(0, n, size)]
    parts = [
        checkpoint(rows, block, use_reentrant=False, preserve_rng_state=False) for block in blocks
    ]
    return torch.cat(parts)
