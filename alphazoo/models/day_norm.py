"""Batch normalisation whose batches are days, and a head with it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alphazoo.models.head import Head

MOMENTUM = 0.1  # weight of a day in the running statistics
EPSILON = 1e-5


class DayNorm(nn.Module):
    """`torch.nn.BatchNorm1d` over the stocks of a day, the same on any number of devices.

    In training, each feature is normalised by its mean and variance over the stocks of the day; in
    evaluation, and on a day of a single stock, by running means of both, which are state of the
    model. Only days that count change them. Of several processes, each takes the days of all, in
    the order in which a single process would.

    Ioffe and Szegedy, "Batch normalization", ICML 2015. https://arxiv.org/abs/1502.03167

    Args:
        size: Number of features.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.register_buffer("running_mean", torch.zeros(size))
        self.register_buffer("running_var", torch.ones(size))

    def forward(self, x: Tensor, counts: Tensor | None = None) -> Tensor:
        """Return x [N, ``size``] normalised.

        Args:
            x: One row per stock.
            counts: [] bool, whether the day changes the running statistics in training; None for
                no.
        """
        x = x.to(self.weight.dtype)
        if not self.training:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=EPSILON
            )
        several = x.shape[0] > 1
        if counts is not None:
            self._learn(x.detach(), counts & several)
        if not several:
            # a copy, because the next day changes the statistics before the backward pass
            mean, variance = self.running_mean.clone(), self.running_var.clone()
            return F.batch_norm(x, mean, variance, self.weight, self.bias, eps=EPSILON)
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=EPSILON)

    @torch.no_grad()
    def _learn(self, x: Tensor, counts: Tensor) -> None:
        variance, mean = torch.var_mean(x, dim=0, correction=min(1, x.shape[0] - 1))
        own = torch.stack([mean, variance]).where(counts, torch.nan)  # [2, size]
        days = [own]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            days = [torch.empty_like(own) for _ in range(torch.distributed.get_world_size())]
            torch.distributed.all_gather(days, own)
        for statistics in days:
            for running, new in zip((self.running_mean, self.running_var), statistics, strict=True):
                running.lerp_(new.where(new.isfinite(), running), MOMENTUM)


class NormedHead(nn.Module):
    """A layer, `DayNorm`, tanh, and a linear layer.

    Args:
        size: Number of inputs, and width of the layer.
        n_outputs: Number of outputs.
    """

    def __init__(self, size: int, n_outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(size, size)
        self.norm = DayNorm(size)
        self.output = Head(size, n_outputs)

    def forward(self, x: Tensor, counts: Tensor | None = None) -> Tensor:
        """Return outputs [N, ``n_outputs``]; see `DayNorm` for ``counts``."""
        outputs: Tensor = self.output(self.norm(self.hidden(x), counts).tanh())
        return outputs
