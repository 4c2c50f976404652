"""Linear: one weight per feature and day of the window, the simplest baseline.

Qlib's baseline of the same name is solved in closed form. This one has an intercept and is trained
by gradient descent, like every other model.
https://github.com/microsoft/qlib/blob/main/qlib/contrib/model/linear.py
"""

from torch import Tensor, nn

from alphazoo.bounds import NonNegativeFloat, PositiveInt
from alphazoo.data.days import DayBatch
from alphazoo.models.base import StockModel
from alphazoo.models.probe import Probe


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
        self.head = nn.Linear(window * n_features, 1)
        self.weights = Probe("weights", "step", "feature")

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]."""
        if self.weights.observed:
            self.weights(self.head.weight.view(day.features.shape[1:]))  # [T, F]
        scores: Tensor = self.head(day.features.flatten(1))
        return scores.squeeze(-1)
