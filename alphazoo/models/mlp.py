"""MLP: a feed-forward network on the flattened window.

Based on Qlib's baseline of the same name, but without batch normalisation: a day is a batch, and a
score should not depend on which other stocks the day has.
https://github.com/microsoft/qlib/blob/main/qlib/contrib/model/pytorch_nn.py
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from alphazoo.bounds import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    Probability,
)
from alphazoo.data.days import DayBatch
from alphazoo.models.blocks import encode_in_blocks
from alphazoo.models.head import Head
from alphazoo.models.multi_output import MultiOutputModel


class MLP(MultiOutputModel):
    """A linear head on a stack of hidden layers; each stock is scored independently.

    Args:
        n_features: F, number of features per day.
        window: T, number of days in a window.
        hidden_size: H, width of the hidden layers.
        num_layers: Number of hidden layers.
        dropout: Dropout rate after each hidden layer.
        blend: Weights of the outputs in the score, one output per weight; see `MultiOutputModel`.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        window: PositiveInt,
        hidden_size: PositiveInt,
        num_layers: NonNegativeInt,
        dropout: Probability,
        blend: Sequence[float],
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(blend=blend, lr=lr, weight_decay=weight_decay)
        sizes = [window * n_features, *[hidden_size] * num_layers]
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(wide, narrow), nn.SiLU(), nn.Dropout(dropout))
                for wide, narrow in pairwise(sizes)
            )
        )
        self.head = Head(sizes[-1], len(blend))

    def outputs(self, day: DayBatch) -> Tensor:
        """Return the outputs of each stock of the day, [N, K]; [N] if there is one."""
        outputs: Tensor = self.head(encode_in_blocks(self._encode, day.features, self))
        return outputs.squeeze(-1)

    def _encode(self, x: Tensor) -> Tensor:
        """Encode windows [N, T, F] as [N, H]."""
        encoded: Tensor = self.layers(x.flatten(1))
        return encoded
