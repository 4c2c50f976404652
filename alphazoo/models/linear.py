"""Linear: one weight per feature and day of the window, the simplest baseline.

Qlib's baseline of the same name is solved in closed form. This one has an intercept and is trained
by gradient descent, like every other model.
https://github.com/microsoft/qlib/blob/main/qlib/contrib/model/linear.py
"""

from collections.abc import Sequence

from torch import Tensor

from alphazoo.bounds import NonNegativeFloat, PositiveInt
from alphazoo.data.days import DayBatch
from alphazoo.models.head import Head
from alphazoo.models.multi_output import MultiOutputModel


class Linear(MultiOutputModel):
    """A weighted sum of the window; each stock is scored independently.

    Args:
        n_features: F, number of features per day.
        window: T, number of days in a window.
        blend: Weights of the outputs in the score, one output per weight; see `MultiOutputModel`.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        window: PositiveInt,
        blend: Sequence[float],
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(blend=blend, lr=lr, weight_decay=weight_decay)
        self.head = Head(window * n_features, len(blend))

    def outputs(self, day: DayBatch) -> Tensor:
        """Return the outputs of each stock of the day, [N, K]; [N] if there is one."""
        outputs: Tensor = self.head(day.features.flatten(1))
        return outputs.squeeze(-1)
