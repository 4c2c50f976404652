"""The feed-forward network gives what a sequence of layers gives."""

import copy

import pytest
import torch
from torch import Tensor, nn

from alphazoo.models import feedforward
from alphazoo.models.feedforward import FeedForward


def run(network: nn.Sequential, x: Tensor, low: bool) -> list[Tensor]:
    """Return outputs and gradients."""
    network.zero_grad()
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        y = network(x)
    (y.float() * torch.linspace(-1, 2, y.shape[-1])).square().sum().backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert x.grad is not None
    return [y.detach(), x.grad, *gradients]


@pytest.mark.parametrize("size", [1, 400, 10**6])  # blocks of 1, of 2 or 5 rows, and one block
def test_outputs_and_gradients_are_those_of_the_layers(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(feedforward, "BYTES", size)
    ours = FeedForward(36, 40, dropout=0.0)
    theirs = nn.Sequential(*copy.deepcopy(list(ours)))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    x = torch.randn(5, 3, 36)
    exact = run(theirs, x, low=False)
    torch.testing.assert_close(run(ours, x, low=False), exact, rtol=1e-4, atol=1e-5)
    for value, rounded, torchs in zip(
        exact, run(ours, x, low=True), run(theirs, x, low=True), strict=True
    ):
        assert rounded.dtype == torchs.dtype
        error, torchs_error = ((low - value).norm() / value.norm() for low in (rounded, torchs))
        assert 1e-4 < error < max(1.2 * torchs_error, 5e-3)


def test_dropout_is_kept_while_training() -> None:
    torch.manual_seed(0)
    network, x = FeedForward(4, 50, dropout=0.5), torch.randn(3, 4)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))
