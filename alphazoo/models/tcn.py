"""TCN: dilated causal convolutions over the window of each stock.

Bai, Kolter and Koltun, "An empirical evaluation of generic convolutional and recurrent networks for
sequence modeling", 2018. https://arxiv.org/abs/1803.01271
"""

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from alphazoo.bounds import NonNegativeFloat, PositiveFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch
from alphazoo.models.base import StockModel


class Block(nn.Module):
    """Two causal convolutions with a skip, on the days that the last score depends on.

    Only the last day is scored, so that a block of dilation d is read at every 2d-th day, and reads
    its input at every d-th. On days kept at such a stride, newest first, a dilated convolution is a
    plain one, and keeping every other day is its stride.

    Args:
        n_inputs: Channels of the input.
        n_outputs: Channels of the output.
        kernel_size: Days under a kernel.
        dropout: After each convolution.
    """

    def __init__(self, n_inputs: int, n_outputs: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = weight_norm(nn.Conv1d(n_inputs, n_outputs, kernel_size))
        self.conv2 = weight_norm(nn.Conv1d(n_outputs, n_outputs, kernel_size, stride=2))
        self.skip = nn.Conv1d(n_inputs, n_outputs, 1) if n_inputs != n_outputs else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.padding = (0, kernel_size - 1)  # before the window there is nothing

    def forward(self, x: Tensor) -> Tensor:
        """Convolve [N, C, t] as [N, C', (t + 1) / 2], newest day first."""
        out = self.dropout(self.conv1(F.pad(x, self.padding)).relu())
        out = self.dropout(self.conv2(F.pad(out, self.padding)).relu())
        return cast("Tensor", (out + self.skip(x[..., ::2])).relu())


class TCN(StockModel):
    """A linear score of the last output of residual blocks of dilation 1, 2, 4, ...

    The score sees 1 + 2 (kernel_size - 1) (2^num_layers - 1) days.

    Args:
        n_features: F, features per day.
        hidden_size: Channels of every block.
        num_layers: Blocks.
        kernel_size: Days under a kernel.
        dropout: After each convolution.
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
        lr: PositiveFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        widths = [n_features] + [hidden_size] * num_layers
        self.blocks = nn.Sequential(
            *(Block(n, hidden_size, kernel_size, dropout) for n in widths[:-1])
        )
        self.head = nn.Linear(hidden_size, 1)

    def forward(self, day: DayBatch) -> Tensor:
        """Score the stocks of a day: [N]."""
        x = day.features.flip(1).transpose(1, 2)  # [N, F, T], newest day first
        scores: Tensor = self.head(self.blocks(x)[..., 0])
        return scores.squeeze(-1)
