"""Encode the stocks of a large day in blocks, so that memory does not grow with their number."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

STOCKS = 1024  # of a block


def encode_in_blocks(encode: Callable[[Tensor], Tensor], x: Tensor, *, training: bool) -> Tensor:
    """Encode each stock by itself.

    In training, a day of more than `STOCKS` stocks is encoded in blocks. What a block computes on
    the way is not kept for the backward pass, but computed again there, one block at a time.

    Args:
        encode: Encodes windows [N, T, F] as [N, ...]; no stock depends on another one.
        x: Windows.
        training: Whether a backward pass follows.
    """
    if not training or len(x) <= STOCKS:
        return encode(x)
    blocks = torch.split(x, STOCKS)
    return torch.cat([checkpoint(encode, block, use_reentrant=False) for block in blocks])
