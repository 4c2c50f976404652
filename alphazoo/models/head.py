"""The last layer of a network: it turns states into scores."""

import torch
from torch import Tensor, nn


class Head(nn.Linear):
    """A linear layer with one output, in the precision of its weights also under autocast.

    Scores in bfloat16 have three digits, so that many stocks of a day would share a score.

    Args:
        size: H, width of the states.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size, 1)

    def forward(self, states: Tensor) -> Tensor:
        """Turn states [..., H] into scores [..., 1]."""
        if not torch.is_autocast_enabled(states.device.type):
            return super().forward(states)
        with torch.autocast(states.device.type, enabled=False):
            return super().forward(states.to(self.weight.dtype))
