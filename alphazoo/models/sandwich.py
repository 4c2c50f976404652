"""Sandwich: two layers of KRNN, a convolution and parallel GRUs each.

From microsoft/FOST and Qlib, without a paper.
https://github.com/microsoft/qlib/tree/main/examples/benchmarks/Sandwich
"""

from typing import cast

from torch import Tensor, nn

from alphazoo.bounds import NonNegativeFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch
from alphazoo.models.base import StockModel
from alphazoo.models.krnn import MeanHead, ParallelGRUs


class Sandwich(StockModel):
    """A linear head on the last state of two stacked blocks of a convolution and parallel GRUs.

    Qlib's benchmark reads scrambled windows, as described at `alphazoo.models.krnn.KRNN`.

    Args:
        n_features: F, number of features per day.
        channels1: Number of channels of the first convolution.
        hidden_size1: Width of the GRUs of the first block.
        channels2: Number of channels of the second convolution.
        hidden_size: H, width of the GRUs of the second block.
        kernel_size: Number of days that each convolution covers, odd.
        n_parallel: Number of GRUs in each block.
        num_layers: Number of layers of each GRU.
        dropout: Dropout rate between the layers.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        channels1: PositiveInt,
        hidden_size1: PositiveInt,
        channels2: PositiveInt,
        hidden_size: PositiveInt,
        kernel_size: PositiveInt,
        n_parallel: PositiveInt,
        num_layers: PositiveInt,
        dropout: Probability,
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        sizes = (
            (n_features, channels1, hidden_size1),
            (hidden_size1, channels2, hidden_size),
        )
        self.encoder = nn.Sequential(
            *(
                ParallelGRUs(
                    n_inputs,
                    channels=channels,
                    kernel_size=kernel_size,
                    hidden_size=size,
                    n_parallel=n_parallel,
                    num_layers=num_layers,
                    dropout=dropout,
                )
                for n_inputs, channels, size in sizes
            )
        )
        self.head = MeanHead(hidden_size, n_parallel)

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]."""
        first, second = (cast("ParallelGRUs", block) for block in self.encoder)
        scores: Tensor = self.head(second.each(first(day.features))[:, :, -1])
        return scores
