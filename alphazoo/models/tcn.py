"""TCN: dilated causal convolutions over the window of each stock.

Bai, Kolter and Koltun, "An empirical evaluation of generic convolutional and recurrent networks for
sequence modeling", 2018. https://arxiv.org/abs/1803.01271
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from alphazoo.bounds import NonNegativeFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch
from alphazoo.models.base import StockModel
from alphazoo.models.blocks import encode_in_blocks
from alphazoo.models.head import Head
from alphazoo.models.probe import Probe


class Block(nn.Module):
    """Two causal convolutions with a residual connection, on the days that affect the last score.

    Only the last day is scored, so the output of a block with dilation d is needed on every 2d-th
    day only, and its input on every d-th. On days subsampled in this way, newest first, a dilated
    convolution is an ordinary one, and a stride of 2 drops every other day.

    Args:
        n_inputs: Number of input channels.
        n_outputs: Number of output channels.
        kernel_size: Width of the kernel in days.
        dropout: Dropout rate after each convolution.
    """

    def __init__(self, n_inputs: int, n_outputs: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = weight_norm(nn.Conv1d(n_inputs, n_outputs, kernel_size))
        self.conv2 = weight_norm(nn.Conv1d(n_outputs, n_outputs, kernel_size, stride=2))
        self.skip = nn.Conv1d(n_inputs, n_outputs, 1) if n_inputs != n_outputs else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.padding = (0, kernel_size - 1)  # zeros before the window

    def forward(self, x: Tensor) -> Tensor:
        """Convolve [N, C, t] to [N, C', (t + 1) / 2], newest day first."""
        out = self.dropout(self.conv1(F.pad(x, self.padding)).relu())
        out = self.dropout(self.conv2(F.pad(out, self.padding)).relu())
        return cast("Tensor", (out + self.skip(x[..., ::2])).relu())


class TCN(StockModel):
    """A linear head on the last output of residual blocks with dilations 1, 2, 4, ...

    The receptive field is 1 + 2 (kernel_size - 1) (2^num_layers - 1) days.

    Args:
        n_features: F, number of features per day.
        hidden_size: Number of channels of every block.
        num_layers: Number of blocks.
        kernel_size: Width of the kernel in days, before dilation.
        dropout: Dropout rate after each convolution.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        hidden_size: PositiveInt,
        num_layers: PositiveInt,
        kernel_size: PositiveInt,
        dropout: Probability,
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        widths = [n_features] + [hidden_size] * num_layers
        self.blocks = nn.Sequential(
            *(Block(n, hidden_size, kernel_size, dropout) for n in widths[:-1])
        )
        self.kernel_size = kernel_size
        self.paths = Probe("weights", "step")
        self.head = Head(hidden_size)

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]."""
        x = day.features
        if self.paths.observed:
            self.paths(self._count_paths(x.shape[1]).to(x))
        scores: Tensor = self.head(encode_in_blocks(self._encode, x, self))
        return scores.squeeze(-1)

    def _encode(self, x: Tensor) -> Tensor:
        """Encode windows [N, T, F] as the newest day of the last block, [N, H]."""
        encoded: Tensor = self.blocks(x.flip(1).transpose(1, 2))  # [N, H, T], newest day first
        return encoded[..., 0]

    def _count_paths(self, window: int) -> Tensor:
        """Return the share of the paths from the last output that end on each day, [T].

        A path takes one tap of each convolution, or the residual connection around a block. Days
        with a share of 0 are outside of the receptive field.
        """
        reached = torch.zeros(window, dtype=torch.float64)  # by age
        reached[0] = 1
        for dilation in (2**layer for layer in reversed(range(len(self.blocks)))):
            skipped = reached
            for _ in range(2):
                taps = (min(tap * dilation, window) for tap in range(self.kernel_size))
                reached = sum(
                    (torch.cat([reached.new_zeros(t), reached[: window - t]]) for t in taps),
                    torch.zeros_like(reached),
                )
            reached = reached + skipped
        return (reached / reached.sum()).flip(0)
