"""`Loss`, the base class of all losses: a subclass defines ``compute``."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from alphazoo.data.days import DayBatch
from alphazoo.errors import InputError


class Loss(ABC):
    """A function of the outputs and labels of one day.

    Attributes:
        n_outputs: Number of outputs per stock that the loss reads.
        min_stocks: Number of stocks with a label that a day needs; the loss of other days is 0.
    """

    n_outputs: int = 1
    min_stocks: int = 1

    @abstractmethod
    def compute(self, outputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Return the loss, [].

        Args:
            outputs: [N], or [N, ``n_outputs``] if the loss reads several; 0 where the weight is 0.
            labels: [N], finite; 0 where the weight is 0.
            weights: [N], not negative, 1 on average over the stocks that enter the loss and 0 for
                the others. If all are 0, the loss must be 0.
        """

    def __call__(self, outputs: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the loss of one day, []; 0, with a gradient of 0, if too few labels are known.

        Args:
            outputs: [N], or [N, ``n_outputs``] if the loss reads several outputs.
            labels: [N], NaN where unknown; these stocks do not enter the loss.
            weights: [N], relative weights of the stocks; None for equal weights.

        Raises:
            InputError: The number of outputs is not ``n_outputs``.
        """
        columns = outputs.shape[1:].numel()
        if columns != self.n_outputs:
            raise InputError(
                f"the loss {type(self).__name__} needs {self.n_outputs} outputs per stock, "
                f"but the model gives {columns}"
            )
        known = is_known(labels, weights)
        known = known & (known.sum() >= self.min_stocks)
        w = known.to(labels.dtype)
        if weights is not None:
            w = w * weights / weighted_mean(weights, w).clamp(min=torch.finfo(w.dtype).tiny)
        mask = known if outputs.ndim == 1 else known.unsqueeze(1)
        x = outputs.to(labels.dtype)  # a sum over thousands of stocks needs float32
        return self.compute(x.where(mask, 0.0), labels.where(known, 0.0), w)

    def on_day(self, outputs: Tensor, day: DayBatch) -> Tensor:
        """Return the loss of one day, [], the mean over the horizons if there are several.

        Args:
            outputs: [N]; [N, ``n_outputs``] for a loss of several outputs; or [N, L], one output
                per horizon. Outputs that are not of one horizon are compared with every horizon.
            day: Gives the labels and the weights of the stocks.
        """
        weights = weights_of(day)
        horizons = day.targets.shape[1]
        if horizons == 0:
            return self(outputs, day.labels, weights)
        separate = outputs.ndim == 2 and self.n_outputs == 1
        if separate and outputs.shape[1] != horizons:
            raise InputError(
                f"the model gives {outputs.shape[1]} outputs per stock for {horizons} horizons: "
                "expected 1 or one per horizon"
            )
        each = outputs.unbind(1) if separate else [outputs] * horizons
        losses = [self(x, y, weights) for x, y in zip(each, day.targets.unbind(1), strict=True)]
        return torch.stack(losses).mean()

    def weight_of(self, day: DayBatch) -> Tensor:
        """Return the weight of a day in a mean of losses, []: 0 if it has too few labels."""
        labels = day.targets if day.targets.shape[1] else day.labels.unsqueeze(1)
        weights = weights_of(day)
        counts = [is_known(y, weights).sum() for y in labels.unbind(1)]
        return (torch.stack(counts).max() >= self.min_stocks) * day.day_weight


def weights_of(day: DayBatch) -> Tensor | None:
    """Return the weights of the stocks of a day, [N]; None if they are equal."""
    return day.stock_weights if len(day.stock_weights) else None


def is_known(labels: Tensor, weights: Tensor | None) -> Tensor:
    """Return whether a stock enters the loss, [N] bool: it has a label and a weight above 0."""
    known = labels.isfinite()
    return known if weights is None else known & (weights > 0)


def weighted_mean(x: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean of x, of the shape of the weights; 0 if all weights are 0."""
    return (weights * x).sum() / weights.sum().clamp(min=torch.finfo(x.dtype).tiny)
