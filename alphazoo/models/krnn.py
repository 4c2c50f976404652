"""KRNN: the mean of several GRUs side by side, over a convolution of the window.

From microsoft/FOST and Qlib, without a paper.
https://github.com/microsoft/qlib/tree/main/examples/benchmarks/KRNN
"""

import torch
from torch import Tensor, nn

from alphazoo.bounds import NonNegativeFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch
from alphazoo.errors import InputError
from alphazoo.models.base import StockModel
from alphazoo.models.head import Head
from alphazoo.models.probe import Probe
from alphazoo.models.recurrence import FastGRU


class ParallelGRUs(nn.Module):
    """A convolution over time, without activation, and the mean of several GRUs on it.

    Args:
        n_inputs: Number of inputs per day.
        channels: Number of channels of the convolution.
        kernel_size: Number of days that the convolution covers, odd; half of them lie after the
            day, but within the window.
        hidden_size: H, width of each GRU.
        n_parallel: Number of GRUs.
        num_layers: Number of layers of each GRU.
        dropout: Dropout rate between the layers.
    """

    def __init__(
        self,
        n_inputs: int,
        *,
        channels: int,
        kernel_size: int,
        hidden_size: int,
        n_parallel: int,
        num_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise InputError(f"model.kernel_size must be odd, got {kernel_size}")
        self.convolution = nn.Conv1d(n_inputs, channels, kernel_size, padding=kernel_size // 2)
        self.rnns = nn.ModuleList(
            FastGRU(channels, hidden_size, num_layers, batch_first=True, dropout=dropout)
            for _ in range(n_parallel)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Encode [N, T, ``n_inputs``] as [N, T, H]."""
        return self.each(x).mean(dim=0)

    def each(self, x: Tensor) -> Tensor:
        """Return the states of each GRU, [``n_parallel``, N, T, H]."""
        x = self.convolution(x.transpose(1, 2)).transpose(1, 2)  # [N, T, channels]
        return torch.stack([rnn(x)[0] for rnn in self.rnns])


class MeanHead(Head):
    """A linear head on the mean of several states, whose score is the mean of a score of each.

    Args:
        hidden_size: H, width of a state.
        n_states: Number of states.
    """

    def __init__(self, hidden_size: int, n_states: int) -> None:
        super().__init__(hidden_size)
        self.terms = Probe("terms", "stock", "term", terms=[f"GRU {k}" for k in range(n_states)])

    def forward(self, states: Tensor) -> Tensor:
        """Score states [``n_states``, N, H] as [N]."""
        if self.terms.observed:
            each = super().forward(states).squeeze(-1) / len(states)  # [n_states, N]
            self.terms(each.T)
        return super().forward(states.mean(dim=0)).squeeze(-1)


class KRNN(StockModel):
    """A linear head on the last state of parallel GRUs over a convolution.

    Qlib's benchmark reads its rows, which are stored field by field, as if they were stored day by
    day: the first "day" of its window holds six closing prices. Its published metrics are of these
    scrambled windows. Here, a day is a day. There is no option for the other order.

    Args:
        n_features: F, number of features per day.
        channels: Number of channels of the convolution.
        kernel_size: Number of days that the convolution covers, odd.
        hidden_size: H, width of each GRU.
        n_parallel: Number of GRUs.
        num_layers: Number of layers of each GRU.
        dropout: Dropout rate between the layers.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        channels: PositiveInt,
        kernel_size: PositiveInt,
        hidden_size: PositiveInt,
        n_parallel: PositiveInt,
        num_layers: PositiveInt,
        dropout: Probability,
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        self.encoder = ParallelGRUs(
            n_features,
            channels=channels,
            kernel_size=kernel_size,
            hidden_size=hidden_size,
            n_parallel=n_parallel,
            num_layers=num_layers,
            dropout=dropout,
        )
        self.head = MeanHead(hidden_size, n_parallel)

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]."""
        scores: Tensor = self.head(self.encoder.each(day.features)[:, :, -1])
        return scores
