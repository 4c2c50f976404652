"""Encode stocks in blocks of few sizes, so that memory grows neither with a day nor over days."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from alphazoo.models.probe import find_probes, show_rows

STOCKS = 1024  # of a block

# On a CPU, stocks are filled up to a multiple with rows of zeros. oneDNN keeps operations for each
# number of rows, which is half of an LSTM's memory; in bfloat16 it is slow unless 8 divides it.
ROWS = 32


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
    if torch.compiler.is_exporting():
        return encode(x)
    rows = fill_up(x)
    if any(probe.observed for probe in find_probes(model).values()):
        with show_rows(model, len(x)):
            return encode(rows)[: len(x)]
    blocks = torch.split(rows, STOCKS)
    if len(blocks) == 1 or not torch.is_grad_enabled():
        encoded = [encode(block) for block in blocks]
    else:
        encoded = [checkpoint(encode, block, use_reentrant=False) for block in blocks]
    return torch.cat(encoded)[: len(x)]


def fill_up(x: Tensor) -> Tensor:
    """Append rows of zeros to windows [N, T, F] on a CPU, up to a multiple of `ROWS`."""
    missing = -len(x) % ROWS if x.device.type == "cpu" else 0
    return functional.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x
