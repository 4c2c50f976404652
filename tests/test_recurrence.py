"""The GRU with a written-out backward gives what torch's gives."""

import pytest
import torch
from torch import Tensor, nn

from alphazoo.models.recurrence import FastGRU


@pytest.mark.parametrize(("n_stocks", "window", "layers"), [(1, 1, 1), (3, 1, 2), (7, 9, 3)])
def test_outputs_and_gradients_are_those_of_torch(n_stocks: int, window: int, layers: int) -> None:
    torch.manual_seed(0)
    theirs = nn.GRU(4, 5, layers, batch_first=True)
    ours = FastGRU(4, 5, layers, batch_first=True)
    ours.load_state_dict(theirs.state_dict())
    features, weights = torch.randn(n_stocks, window, 4), torch.randn(n_stocks, window, 5)

    def run(gru: nn.GRU) -> list[Tensor]:
        x = features.clone().requires_grad_()
        outputs, states = gru(x)
        ((outputs * weights).sum() + states.square().sum()).backward()
        return [outputs, states, x.grad, *(p.grad for p in gru.parameters())]

    torch.testing.assert_close(run(ours), run(theirs), rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(ours(features), theirs(features))


def test_dropout_is_between_layers_while_training() -> None:
    torch.manual_seed(0)
    gru, x = FastGRU(4, 5, 2, batch_first=True, dropout=0.5), torch.randn(3, 6, 4)
    assert not torch.equal(gru(x)[0], gru(x)[0])
    gru.eval()
    assert torch.equal(gru(x)[0], gru(x)[0])
