"""SFM: a recurrent network whose memory is decomposed into frequencies.

Zhang, Aggarwal and Qi, "Stock price prediction via discovering multi-frequency trading patterns",
KDD 2017. https://doi.org/10.1145/3097983.3098117
The file is long because the recurrence is written three times: forward, backward and for export.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from alphazoo.bounds import NonNegativeFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch
from alphazoo.errors import InputError
from alphazoo.models.base import StockModel
from alphazoo.models.blocks import encode_in_blocks
from alphazoo.models.head import Head
from alphazoo.models.probe import Probe

STRIDE = 8  # days between the memories that are kept for the backward pass


class SFM(StockModel):
    """A linear head on the last hidden state of a state frequency memory.

    Let x be the features of day t, h the state of the previous day, and w_k = 2 pi k / K the K
    frequencies::

        i, ste, o [H], fre [K] = hardsigmoid(W x + U h + b)
        S = (ste fre') S + (i tanh(W_c x + U_c h + b_c)) exp(j w t)'   complex, [H, K]
        h = o tanh(|S|^2 u_a + b_a)

    As in Qlib's benchmark, and unlike in the paper, the memory is read by its squared modulus
    (``modulus=True`` follows the paper), and the hard sigmoid is torch's, clip(x / 6 + 1 / 2).
    Qlib's two dropout settings have no effect, so its published set-up corresponds to 0; here they
    drop the same inputs (``dropout``) and states (``recurrent_dropout``) on every day of a window.
    Qlib keeps the state in float64, which changes a score by about 1e-7; here it is float32.

    Args:
        n_features: F, number of features per day.
        hidden_size: H, width of the hidden state.
        n_frequencies: K, number of frequencies.
        output_size: Width of the linear layer between state and score.
        dropout: Dropout rate of the features.
        recurrent_dropout: Dropout rate of the hidden state that enters the next day.
        modulus: Read the memory by its modulus instead of its squared modulus.
        lr: Learning rate.
        weight_decay: L2 penalty.
    """

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        hidden_size: PositiveInt,
        n_frequencies: int,
        output_size: PositiveInt,
        dropout: Probability,
        recurrent_dropout: Probability,
        modulus: bool,
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        if n_frequencies < 1:
            raise InputError(f"model.n_frequencies must be at least 1, got {n_frequencies}")
        self.sizes = [hidden_size] * 3 + [n_frequencies, hidden_size]  # i, ste, o, fre, c
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.modulus = modulus
        self.input = nn.Linear(n_features, sum(self.sizes))
        self.state = nn.Linear(hidden_size, sum(self.sizes), bias=False)
        self.reader = nn.Parameter(torch.empty(n_frequencies, 1))  # u_a
        self.reader_bias = nn.Parameter(torch.zeros(hidden_size))
        self.spectrum = Probe("frequencies", "stock", "frequency")
        self.output = nn.Linear(hidden_size, output_size)
        self.head = Head(output_size)
        self._initialise()

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]."""
        last = encode_in_blocks(self._encode, day.features, self)
        scores: Tensor = self.head(self.output(last))
        return scores.squeeze(-1)

    def _encode(self, windows: Tensor) -> Tensor:
        """Return the last hidden state [N, H] of windows [N, T, F]."""
        x = windows.transpose(0, 1)  # [T, N, F]
        size = self.state.in_features
        kept = F.dropout(torch.ones_like(x[0]), self.dropout, self.training)
        mask = F.dropout(x.new_ones(kept.shape[0], size), self.recurrent_dropout, self.training)
        inputs = self.input(x * kept)  # [T, N, 4H + K], all days at once
        weights = self.state.weight, self.reader[:, 0], self.reader_bias, mask, self.modulus
        last_memory: list[Tensor] | None = [] if self.spectrum.observed else None
        with torch.autocast(x.device.type, enabled=False):
            if torch.compiler.is_exporting():
                last: Tensor = scan_days(inputs.float(), *weights)
            else:
                last = _Memory.apply(  # type: ignore[no-untyped-call]
                    inputs.float(), *weights, torch.is_grad_enabled(), last_memory
                )
        if last_memory:
            self.spectrum(last_memory[0].square().sum(dim=0).mean(dim=1))  # [N, K]
        return last

    def _initialise(self) -> None:
        """Initialise input weights by Xavier and state weights orthogonally; open ste and fre."""
        for weight in torch.split(self.input.weight, self.sizes):
            nn.init.xavier_uniform_(weight)
        for weight in torch.split(self.state.weight, self.sizes):
            nn.init.orthogonal_(weight)
        nn.init.zeros_(self.input.bias)
        _, ste, _, fre, _ = torch.split(self.input.bias, self.sizes)
        nn.init.ones_(ste)
        nn.init.ones_(fre)
        nn.init.orthogonal_(self.reader)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)


def scan_days(
    inputs: Tensor, weight: Tensor, reader: Tensor, bias: Tensor, mask: Tensor, modulus: bool
) -> Tensor:
    """Return the last hidden state [N, H], by a loop that stays a loop in an exported graph.

    The arguments are those of `_Memory`, whose own loop would be unrolled: 60 days take minutes.
    """
    from torch._higher_order_ops.scan import scan

    size, n_frequencies = bias.shape[0], reader.shape[0]

    def step(state: tuple[Tensor, Tensor], day: tuple[Tensor, Tensor]) -> tuple[Any, list[Tensor]]:
        h, memory = state  # [N, H], [2, N, H, K]
        gates = day[0] + (h * mask) @ weight.t()
        i, ste, o, fre, _ = _parts(F.hardsigmoid(gates), size, n_frequencies)
        decay = ste.unsqueeze(2) * fre.unsqueeze(1)
        memory = memory * decay + (i * gates[:, -size:].tanh()).unsqueeze(2) * day[1]
        squared = memory.square().sum(dim=0)
        power = squared.sqrt() if modulus else squared  # [N, H, K]
        return (o * (power @ reader + bias).tanh(), memory), []

    zeros = inputs.new_zeros(inputs.shape[1], size)
    start = zeros, inputs.new_zeros(2, *zeros.shape, n_frequencies)
    last: Tensor
    (last, _), _ = scan(step, start, (inputs, _wave(inputs.shape[0], reader)))
    return last


class _Memory(torch.autograd.Function):
    """The recurrence over days, with an explicit backward pass.

    Of tensors as large as the memory, [N, H, K], only every eighth day is kept. The backward pass
    recomputes the others in a few reused buffers, because allocation costs more than arithmetic.
    """

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor,
        reader: Tensor,
        bias: Tensor,
        mask: Tensor,
        modulus: bool,
        train: bool,
        last_memory: list[Tensor] | None,
    ) -> Tensor:
        days, stocks, _ = inputs.shape
        size, n_frequencies = len(bias), len(reader)
        wave = _wave(days, reader)
        h = inputs.new_zeros(days + 1, stocks, size)
        gates = inputs.new_empty(inputs.shape)
        read = inputs.new_empty(days, stocks, size)
        memory = inputs.new_zeros(2, stocks, size, n_frequencies)  # real and imaginary parts
        kept = memory.new_empty(-(-days // STRIDE) if train else 0, *memory.shape)
        scratch = torch.empty_like(memory[0])
        for day in range(days):
            if train and day % STRIDE == 0:
                kept[day // STRIDE] = memory
            gate = gates[day]
            torch.addmm(inputs[day], h[day] * mask, weight.t(), out=gate)
            F.hardsigmoid(gate[:, :-size], inplace=True)
            gate[:, -size:].tanh_()
            parts = _parts(gate, size, n_frequencies)
            _remember(memory, parts, wave[day], scratch, out=memory)
            squared = _squared(memory, modulus, scratch).view(-1, n_frequencies)
            torch.mv(squared, reader, out=read[day].view(-1))
            read[day].add_(bias).tanh_()
            torch.mul(parts[2], read[day], out=h[day + 1])
        ctx.save_for_backward(weight, reader, mask, h, gates, read, kept)
        ctx.modulus = modulus
        if last_memory is not None:
            last_memory.append(memory)
        return h[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, reader, mask, h, gates, read, kept = ctx.saved_tensors
        days, stocks, size = read.shape
        n_frequencies = len(reader)
        wave = _wave(days, reader)
        dh = gradients[0]
        dgates = torch.empty_like(gates)
        dread = torch.empty_like(read)
        dreader = torch.zeros_like(reader)
        dmemory = torch.zeros_like(kept[0])
        past = kept.new_empty(STRIDE + 1, *dmemory.shape)
        scratch, other = torch.empty_like(dmemory)
        for day in reversed(range(days)):
            start, row = day - day % STRIDE, day % STRIDE
            if row == STRIDE - 1 or day == days - 1:
                past[0] = kept[day // STRIDE]
                for again in range(row + 1):
                    parts = _parts(gates[start + again], size, n_frequencies)
                    _remember(past[again], parts, wave[start + again], scratch, past[again + 1])
            before, after = past[row], past[row + 1]
            i, ste, o, fre, c = _parts(gates[day], size, n_frequencies)
            di, dste, do, dfre, dc = _parts(dgates[day], size, n_frequencies)
            a, da = read[day], dread[day]
            torch.mul(dh, a, out=do)
            torch.mul(dh * o, 1 - a * a, out=da)

            squared = _squared(after, ctx.modulus, scratch)
            dreader.addmv_(squared.view(-1, n_frequencies).t(), da.view(-1))
            dsquared = torch.mul(da.unsqueeze(2), reader, out=other)
            if ctx.modulus:  # the derivative of |S| is S / |S|, and 0 where S is 0
                dsquared.div_(squared.clamp_min_(torch.finfo(squared.dtype).tiny))
            dmemory.addcmul_(dsquared, after, value=1 if ctx.modulus else 2)

            re, im = dmemory.view(2, -1, n_frequencies)
            cos, sin = wave[day].view(2, n_frequencies)
            dproduct = torch.addmv(re @ cos, im, sin).view(stocks, size)
            torch.mul(dproduct, c, out=di)
            torch.mul(dproduct, i, out=dc)
            ddecay = torch.mul(dmemory[0], before[0], out=other)
            ddecay.addcmul_(dmemory[1], before[1])
            dfre.copy_(torch.bmm(ste.unsqueeze(1), ddecay).squeeze(1))
            dste.copy_(ddecay.mul_(fre.unsqueeze(1)).sum(dim=2))
            dmemory.mul_(torch.mul(ste.unsqueeze(2), fre.unsqueeze(1), out=scratch))

            gate, dgate = gates[day][:, :-size], dgates[day][:, :-size]
            dgate.masked_fill_((gate <= 0) | (gate >= 1), 0).div_(6)
            dc.mul_(1 - c * c)
            dh = (dgates[day] @ weight).mul_(mask)
        rows = (h[:-1] * mask).view(days * stocks, size)
        dweight = dgates.view(days * stocks, -1).t() @ rows
        return dgates, dweight, dreader, dread.sum(dim=(0, 1)), None, None, None, None


def _remember(
    before: Tensor, parts: tuple[Tensor, ...], wave: Tensor, scratch: Tensor, out: Tensor
) -> None:
    """Compute the memory [2, N, H, K] after a day from ``before``; ``out`` may be ``before``."""
    i, ste, _, fre, c = parts
    decay = torch.mul(ste.unsqueeze(2), fre.unsqueeze(1), out=scratch)
    torch.mul(before, decay, out=out).addcmul_((i * c).unsqueeze(2), wave)


def _parts(gates: Tensor, size: int, n_frequencies: int) -> tuple[Tensor, ...]:
    return torch.split(gates, [size, size, size, n_frequencies, size], dim=1)


def _squared(memory: Tensor, modulus: bool, out: Tensor) -> Tensor:
    """Return the squared modulus of the memory, or its modulus, [N, H, K]."""
    torch.mul(memory[0], memory[0], out=out).addcmul_(memory[1], memory[1])
    return out.sqrt_() if modulus else out


def _wave(days: int, reader: Tensor) -> Tensor:
    """Return cosine and sine of w_k t for t = 1..T, [T, 2, 1, 1, K]."""
    n_frequencies = len(reader)
    time = torch.arange(1, days + 1, device=reader.device)
    turns = torch.outer(time, torch.arange(n_frequencies, device=reader.device)) % n_frequencies
    angle = turns.to(reader.dtype) * (2 * math.pi / n_frequencies)
    return torch.stack([angle.cos(), angle.sin()], dim=1)[:, :, None, None]
