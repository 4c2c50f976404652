"""An encoder layer computes the same in bfloat16, although it takes another way there."""

import pytest
import torch
from torch import Tensor

from alphazoo.models.transformer import EncoderLayer


def make_layer(*, causal: bool = False, dropout: float = 0.0) -> EncoderLayer:
    torch.manual_seed(0)
    return EncoderLayer(16, 2, feedforward_size=32, dropout=dropout, causal=causal, pre_norm=False)


@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_bfloat16_changes_neither_outputs_nor_gradients(causal: bool, last_only: bool) -> None:
    layer = make_layer(causal=causal)
    x = torch.randn(40, 9, 16)

    def run(low: bool) -> list[Tensor]:
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            y = layer(x, last_only=last_only)
        (y.float() * torch.linspace(-1, 2, 16)).square().sum().backward()
        gradients = {n: p.grad for n, p in layer.named_parameters() if p.grad is not None}
        # the gradient of the keys' bias is 0: it changes no weight
        gradients["projections.bias"] = gradients["projections.bias"][[*range(16), *range(32, 48)]]
        return [y.detach(), *gradients.values()]

    for value, rounded in zip(run(low=False), run(low=True), strict=True):
        assert 1e-4 < (rounded - value).norm() / value.norm() < 3e-2


def test_bfloat16_keeps_the_dropout_of_attention() -> None:
    layer, x = make_layer(dropout=0.5), torch.randn(2, 9, 16)
    with torch.autocast("cpu", torch.bfloat16):
        attended = [layer._attend(x, last_only=False) for _ in range(2)]
        assert not torch.equal(*attended)
        layer.eval()
        assert torch.equal(*(layer._attend(x, last_only=False) for _ in range(2)))
