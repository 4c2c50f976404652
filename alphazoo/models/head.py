"""The last layer of a network: it turns states into scores."""

import torch
from torch import Tensor, nn


class Head(nn.Linear):
    """A linear layer with one output or few, in the precision of its weights also under autocast.

    Scores in bfloat16 have three digits, so that many stocks of a day would share a score.

    Args:
        size: H, width of the states.
        n_outputs: K.
    """

    def __init__(self, size: int, n_outputs: int = 1) -> None:
        super().__init__(size, n_outputs)

    def forward(self, states: Tensor) -> Tensor:
        """Turn states [..., H] into outputs [..., K]."""
        if not torch.is_autocast_enabled(states.device.type):
            return super().forward(states)
        with torch.autocast(states.device.type, enabled=False):
            return super().forward(states.to(self.weight.dtype))
