"""`MultiOutputModel`, the base class of models that may give several outputs per stock."""

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor

from alphazoo.bounds import NonNegativeFloat
from alphazoo.data.days import DayBatch
from alphazoo.errors import InputError
from alphazoo.models.base import StockModel


class MultiOutputModel(StockModel):
    """A model that gives one output per horizon of the label, or the parameters of a distribution.

    Args:
        blend: [K], weights of the outputs in the score. ``[1]`` is one output, which is the score;
            ``[0.5, 0.5]`` are two outputs, of two horizons, whose mean is the score; ``[1, 0]`` are
            a mean, which is the score, and a log variance.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

    def __init__(
        self, *, blend: Sequence[float], lr: NonNegativeFloat, weight_decay: NonNegativeFloat
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        if not any(blend) or (len(blend) == 1 and blend[0] != 1):
            raise InputError(
                f"model.blend={[*blend]}: expected [1], or one weight per output, not all 0"
            )
        self.blend = blend
        self.n_outputs = len(blend)

    @abstractmethod
    def outputs(self, day: DayBatch) -> Tensor:
        """Return the outputs of each stock of the day, [N, K]; [N] if there is one."""

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N], the blend of its outputs."""
        outputs = self.outputs(day)
        return outputs if outputs.ndim == 1 else outputs @ outputs.new_tensor(self.blend)
