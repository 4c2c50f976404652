"""Linear: a weight for every feature on every day of the window; what the others have to beat.

The baseline of the same name in Qlib is solved in closed form, this one learns by gradient steps
like every other model, with an intercept.
https://github.com/microsoft/qlib/blob/main/qlib/contrib/model/linear.py
"""

from torch import Tensor, nn

from alphazoo.bounds import NonNegativeFloat, PositiveFloat, PositiveInt
from alphazoo.data.days import DayBatch
from alphazoo.models.base import StockModel


class Linear(StockModel):
    """A weighted sum of the window; each stock is scored by itself.

    Args:
        n_features: F, features per day.
        window: T, days per window.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        window: PositiveInt,
        lr: PositiveFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        self.head = nn.Linear(window * n_features, 1)

    def forward(self, day: DayBatch) -> Tensor:
        """Score the stocks of a day: [N]."""
        scores: Tensor = self.head(day.features.flatten(1))
        return scores.squeeze(-1)
