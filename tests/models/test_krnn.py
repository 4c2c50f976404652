"""KRNN and Sandwich: equations with plain layers, the mean of the GRUs, windows in order."""

import pytest
import torch
from conftest import MakeDay
from torch import Tensor, nn

from alphazoo.config import compose, instantiate
from alphazoo.errors import InputError
from alphazoo.models.base import StockModel
from alphazoo.models.krnn import ParallelGRUs


def make(name: str, *options: str) -> StockModel:
    torch.manual_seed(0)
    return instantiate(compose(f"model={name}", *(f"model.{o}" for o in options)).model).eval()


def encode(block: ParallelGRUs, x: Tensor) -> Tensor:
    """Day by day: the convolution over the day and its neighbours, then torch's own GRU."""
    weight, bias = block.convolution.weight, block.convolution.bias
    nothing = torch.zeros_like(x[:, :1])
    padded = torch.cat([nothing, x, nothing], dim=1)
    days = [
        sum(padded[:, t + k] @ weight[:, :, k].T for k in range(3)) + bias
        for t in range(x.shape[1])
    ]
    outputs = []
    for rnn in block.rnns:
        plain = nn.GRU(rnn.input_size, rnn.hidden_size, rnn.num_layers, batch_first=True)
        plain.load_state_dict(rnn.state_dict())
        outputs.append(plain(torch.stack(days, dim=1))[0])
    return sum(outputs) / len(outputs)


@pytest.mark.parametrize("name", ["krnn", "sandwich"])
@torch.no_grad()
def test_the_equations_with_plain_layers(name: str, make_day: MakeDay) -> None:
    model, day = make(name, "n_parallel=3"), make_day(5)
    x = day.features
    for block in [model.encoder] if name == "krnn" else model.encoder:
        x = encode(block, x)
    torch.testing.assert_close(model(day), model.head(x[None, :, -1]), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_window_is_read_day_by_day(make_day: MakeDay) -> None:
    """With a convolution that passes field 0 on and GRUs of update gate 0: h = tanh(today)."""
    model, day = make("krnn", "channels=1", "hidden_size=1", "num_layers=1"), make_day(4)
    for parameter in model.parameters():
        parameter.zero_()
    model.encoder.convolution.weight[0, 0, 1] = 1
    for rnn in model.encoder.rnns:
        rnn.weight_ih_l0[2] = 1
        rnn.bias_ih_l0[1] = -100
    model.head.weight.fill_(2)
    torch.testing.assert_close(model(day), 2 * day.features[:, -1, 0].tanh())


@pytest.mark.parametrize(("name", "count"), [("krnn", 1_889), ("sandwich", 4_937)])
def test_parameters_are_those_of_the_reference(name: str, count: int) -> None:
    assert sum(p.numel() for p in make(name).parameters()) == count


@pytest.mark.parametrize("name", ["krnn", "sandwich"])
def test_an_even_kernel_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="model.kernel_size must be odd, got 4"):
        make(name, "kernel_size=4")
