"""An LSTM and a GRU that are faster on a CPU and compute the same values.

Torch's GRU records a dozen small operations per day and layer and differentiates each of them.
Here, everything that does not depend on the previous day is one matrix product over all days, in
the forward and the backward pass, and the rest of a day is computed while its values are in the
cache. Torch's dropout between layers takes a fifth of an LSTM's training step on a CPU; here, 64
random bits serve four elements.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from alphazoo.models.blocks import fill_up
from alphazoo.models.products import find_factor_type, onednn_products

aten = torch.ops.aten


class FastLSTM(nn.LSTM):
    """`torch.nn.LSTM`, batch-first and unidirectional; differs only on a CPU.

    There, it has a dropout of its own, and computes a multiple of `blocks.ROWS`.
    """

    def forward(  # type: ignore[override]
        self,
        input: Tensor,  # noqa: A002 - the name torch gives it
        hx: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return outputs [N, T, H] of the last layer and last states h and c [layers, N, H]."""
        slow = torch.compiler.is_exporting()  # a format has an LSTM for any number of rows
        if slow or hx is not None or input.device.type != "cpu":
            outputs, states = super().forward(input, hx)
            return outputs, states
        if len(filled := fill_up(input)) > (rows := len(input)):
            outputs, (h, c) = self.forward(filled)
            return outputs[:rows], (h[:, :rows], c[:, :rows])
        if not (self.training and self.dropout):
            outputs, states = super().forward(input)
            return outputs, states
        x, last = input, list[tuple[Tensor, Tensor]]()
        zeros = x.new_zeros(1, len(x), self.hidden_size)
        for layer, weights in enumerate(self.all_weights):
            if layer:
                x = dropout(x, self.dropout)
            x, h, c = torch.lstm(x, (zeros, zeros), [*weights], True, 1, 0.0, True, False, True)
            last.append((h, c))
        h, c = (torch.cat(states) for states in zip(*last, strict=True))
        return x, (h, c)


class FastGRU(nn.GRU):
    """`torch.nn.GRU`, batch-first and unidirectional; differs only on a CPU.

    There, it computes a multiple of `blocks.ROWS`. Under autocast, only the factors of products
    have low precision. Torch's own GRU would also round the state of every day, and is slower.
    """

    def forward(  # type: ignore[override]
        self,
        input: Tensor,  # noqa: A002 - the name torch gives it
        hx: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return outputs [N, T, H] of the last layer and last states [layers, N, H]."""
        dtype = find_factor_type(input)
        if dtype is None or hx is not None:
            outputs, states = super().forward(input, hx)
            return outputs, states
        if len(filled := fill_up(input)) > (rows := len(input)):
            outputs, states = self.forward(filled)
            return outputs[:rows], states[:, :rows]
        x = input.transpose(0, 1).float()  # [T, N, F]
        last = []
        for layer, weights in enumerate(self.all_weights):
            if layer and self.training and self.dropout:
                x = dropout(x, self.dropout)
            with onednn_products(self.hidden_size):
                x = _GRULayer.apply(x, *weights, dtype)  # type: ignore[no-untyped-call]
            last.append(x[-1])
        return x.transpose(0, 1), torch.stack(last)


def dropout(x: Tensor, p: float) -> Tensor:
    """Apply `torch.nn.functional.dropout` to a tensor on the CPU, with p rounded to 16 bits."""
    if p == 1:
        return x * 0
    bits = torch.empty(x.numel() // 4 + 1, dtype=torch.int64).random_(-(2**63), None)
    keep = bits.view(torch.int16)[: x.numel()].view(x.shape) >= round(p * 2**16) - 2**15
    return x * keep.to(x.dtype).div_(1 - p)


class _GRULayer(torch.autograd.Function):
    """One layer with reset gate r, update gate z, candidate state n and state h.

    h' = n + z (h - n), n = tanh(W_n x + b_n + r (U_n h + c_n)), r, z = sigmoid(W x + b + U h + c).
    The factors of products have the given dtype; everything else is float32.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor,
        b_hh: Tensor,
        dtype: torch.dtype,
    ) -> Tensor:
        days, stocks, _ = x.shape
        size = w_hh.shape[1]
        gates = [2 * size]  # the first rows are of r and z, the rest of n
        (b_rz, b_n), (c_rz, c_n) = b_ih.tensor_split(gates), b_hh.tensor_split(gates)
        b_rzn = torch.cat([b_rz + c_rz, c_n]).to(dtype)
        x = x.reshape(days * stocks, -1).to(dtype)
        w_ih, w_hh = w_ih.to(dtype), w_hh.to(dtype)
        v_rz, v_n = w_ih.tensor_split(gates)
        # input part only. n is twice the argument of tanh, since tanh a = 2 sigmoid(2 a) - 1;
        # torch's own tanh can be slow on a CPU
        rz, n = ((x @ w.t()).float().view(days, stocks, -1) for w in (v_rz, 2 * v_n))
        b_n, less = 2 * b_n, -torch.ones(())
        h = n.new_empty(days + 1, stocks, size)
        h[0] = 0
        factors = h if dtype == h.dtype else torch.empty_like(h, dtype=dtype)
        hidden = torch.empty_like(n)  # U_n h + c_n
        every = (factors[:-1], h[:-1], h[1:], rz, n, hidden)
        steps = zip(*(values.unbind() for values in every), strict=True)
        for factor, before, after, rz_t, n_t, hidden_t in steps:
            if factors is not h:
                factor.copy_(before)
            products = F.linear(factor, w_hh, b_rzn).float().tensor_split(gates, dim=1)
            r_t, z_t = rz_t.add_(products[0]).sigmoid_().chunk(2, dim=1)
            hidden_t.copy_(products[1])
            torch.add(
                less, n_t.add_(b_n).addcmul_(r_t, hidden_t, value=2).sigmoid_(), alpha=2, out=n_t
            )
            torch.lerp(n_t, before, z_t, out=after)
        ctx.save_for_backward(x, w_ih, w_hh, h, factors, rz, n, hidden)
        return h[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, w_ih, w_hh, h, factors, rz, n, hidden = ctx.saved_tensors
        days, stocks, size = n.shape
        u = w_hh.roll(size, dims=0)  # rows of n, r, z
        dh = gradients[0].clone()  # [T, N, H], complete for a day when the loop reaches it
        # gradients with respect to U_n h + c_n, to the arguments of r and z, and to that of tanh:
        # of one day, in float32, and of all days, as factors
        d_t = torch.empty(stocks, 4 * size)
        d = torch.empty(days, stocks, 4 * size, dtype=x.dtype)
        dhidden_t, drz_t, dn_t = d_t.tensor_split([size, 3 * size], dim=1)
        dr_t, dz_t = drz_t.chunk(2, dim=1)
        biases = torch.zeros(4 * size)
        every = (h[:-1], rz, n, hidden, dh, d)
        steps = list(zip(*(values.unbind() for values in every), strict=True))
        with onednn_products(size):
            for day in reversed(range(days)):
                h_t, rz_t, n_t, hidden_t, dh_t, factor = steps[day]
                r_t, z_t = rz_t.chunk(2, dim=1)
                torch.addcmul(dh_t, dh_t, z_t, value=-1, out=dn_t)
                aten.tanh_backward.grad_input(dn_t, n_t, grad_input=dn_t)
                torch.mul(dn_t, hidden_t, out=dr_t)
                torch.sub(h_t, n_t, out=dz_t).mul_(dh_t)
                aten.sigmoid_backward.grad_input(drz_t, rz_t, grad_input=drz_t)
                torch.mul(dn_t, r_t, out=dhidden_t)
                factor.copy_(d_t)
                biases += d_t.sum(dim=0)
                if day:
                    product = factor[:, : 3 * size] @ u
                    dh[day - 1].addcmul_(dh_t, z_t).add_(product.float())
            d, before = d.view(days * stocks, -1), factors[:-1].reshape(days * stocks, size)
            of_hidden, of_input = d[:, : 3 * size], d[:, size:]
            dx = (of_input @ w_ih).float() if ctx.needs_input_grad[0] else None
            dw_ih, dw_hh = of_input.t() @ x, of_hidden.t() @ before
        return (
            None if dx is None else dx.view(days, stocks, -1),
            dw_ih.float(),
            dw_hh.float().roll(-size, dims=0),
            biases[size:],
            biases[: 3 * size].roll(-size),
            None,
        )
