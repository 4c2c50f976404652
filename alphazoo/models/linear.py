"""Linear: one weight per feature and day of the window, the simplest baseline.

Qlib's baseline of the same name is solved in closed form. This one has an intercept and is trained
by gradient descent, like every other model.
https://github.com/microsoft/qlib/blob/main/qlib/contrib/model/linear.py
"""

from torch import Tensor

from alphazoo.bounds import NonNegativeFloat, PositiveInt
from alphazoo.data.days import DayBatch
from alphazoo.models.base import StockModel
from alphazoo.models.head import Head


class Linear(StockModel):
    """A weighted sum of the window; each stock is scored independently.

    Args:
        n_features: F, number of features per day.
        window: T, number of days in a window.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        window: PositiveInt,
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        self.head = Head(window * n_features)

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]."""
        scores: Tensor = self.head(day.features.flatten(1))
        return scores.squeeze(-1)
