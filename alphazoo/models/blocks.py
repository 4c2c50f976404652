"""Encode the stocks of a large day in blocks, so that memory does not grow with their number."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from alphazoo.models.probe import find_probes

STOCKS = 1024  # of a block


def encode_in_blocks(encode: Callable[[Tensor], Tensor], x: Tensor, model: nn.Module) -> Tensor:
    """Encode each stock by itself; on a day of more than `STOCKS` stocks, in blocks.

    What a block computes on the way is not kept for the backward pass, but computed again there,
    one block at a time. A model that is exported, or whose probes are observed, encodes all stocks
    at once.

    Args:
        encode: Encodes windows [N, T, F] as [N, ...]; no stock depends on another one.
        x: Windows.
        model: The model that encodes.
    """
    if torch.compiler.is_exporting() or len(x) <= STOCKS or _is_observed(model):
        return encode(x)
    blocks = torch.split(x, STOCKS)
    if not torch.is_grad_enabled():
        return torch.cat([encode(block) for block in blocks])
    return torch.cat([checkpoint(encode, block, use_reentrant=False) for block in blocks])


def _is_observed(model: nn.Module) -> bool:
    return any(probe.observed for probe in find_probes(model).values())
