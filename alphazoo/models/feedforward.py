"""A feed-forward network that is faster on a CPU.

Its hidden units take more memory than all else in a layer: 2,048 for each of 60 days of each stock.
Computed in blocks of rows, they stay in the cache, forwards and backwards.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from alphazoo.models.products import find_factor_type, onednn_products

BYTES = 2**21  # of the hidden units of a block


class FeedForward(nn.Sequential):
    """A linear layer, ReLU, dropout and a linear layer, from [..., d] to [..., d].

    Differs from a `torch.nn.Sequential` only on a CPU, and only without dropout.

    Args:
        width: d, number of features of the input and the output.
        size: Number of hidden units.
        dropout: Dropout rate of the hidden units.
    """

    def __init__(self, width: int, size: int, dropout: float) -> None:
        super().__init__(
            nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout), nn.Linear(size, width)
        )
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """Transform each row by itself."""
        dtype = find_factor_type(x)
        if dtype is None or (self.training and self.dropout):
            y: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return y
        rows, keep = x.flatten(0, -2).to(dtype), torch.is_grad_enabled()
        y = _InBlocks.apply(rows, *self.parameters(), keep)  # type: ignore[no-untyped-call]
        return y.view(x.shape)


class _InBlocks(torch.autograd.Function):
    """y = W relu(U x + b) + c for rows x; products have the type of x.

    The hidden units of all blocks are kept for the backward pass only if there will be one.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, u: Tensor, b: Tensor, w: Tensor, c: Tensor, keep: bool
    ) -> Tensor:
        u, b, w, c = (values.to(x.dtype) for values in (u, b, w, c))
        rows = max(1, BYTES // (len(u) * x.element_size()))
        y, hidden = torch.empty_like(x), list[Tensor]()
        with onednn_products(x.shape[1]):
            for x_k, y_k in zip(torch.split(x, rows), torch.split(y, rows), strict=True):
                hidden_k = F.linear(x_k, u, b).relu_()
                y_k.copy_(F.linear(hidden_k, w, c))
                if keep:
                    hidden.append(hidden_k)
        ctx.save_for_backward(x, u, w, *hidden)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, u, w, *hidden = ctx.saved_tensors
        (dy,) = gradients
        dx = torch.empty_like(x)
        du, dw, db = torch.zeros(u.shape), torch.zeros(w.shape), torch.zeros(len(u))
        rows = len(hidden[0])
        with onednn_products(x.shape[1]):
            blocks = zip(
                *(torch.split(values, rows) for values in (x, dx, dy)), hidden, strict=True
            )
            for x_k, dx_k, dy_k, hidden_k in blocks:
                dw += dy_k.t() @ hidden_k
                d = torch.ops.aten.threshold_backward(dy_k @ w, hidden_k, 0)
                db += d.sum(dim=0)
                du += d.t() @ x_k
                dx_k.copy_(d @ u)
        return dx, du, db, dw, dy.sum(dim=0).float(), None
