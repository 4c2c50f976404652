"""The GRU and the LSTM give what torch's give."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from alphazoo.models.blocks import ROWS
from alphazoo.models.recurrence import FastGRU, FastLSTM, dropout


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


def test_autocast_rounds_less_than_torch() -> None:
    torch.manual_seed(0)
    ours = FastGRU(6, 32, 2, batch_first=True)
    x = torch.randn(50, 40, 6)

    def run(forward: Callable[[Tensor], tuple[Tensor, Tensor]], dtype: torch.dtype) -> list[Tensor]:
        ours.zero_grad()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            outputs, _ = forward(x)
        outputs.float().square().sum().backward()
        return [outputs.detach(), *(p.grad for p in ours.parameters() if p.grad is not None)]

    exact = run(ours, torch.float32)
    rounded = run(ours, torch.bfloat16)
    theirs = run(partial(nn.GRU.forward, ours), torch.bfloat16)
    assert rounded[0].dtype == torch.float32
    for value, low, torchs in zip(exact, rounded, theirs, strict=True):
        error = (low - value).norm() / value.norm()
        assert low.shape == value.shape  # although 64 rows are computed
        assert 1e-5 < error < 5e-3  # some products are rounded
        assert error < (torchs.float() - value).norm() / value.norm()


@pytest.mark.parametrize("kind", [FastGRU, FastLSTM])
def test_dropout_is_between_layers_while_training(kind: type[FastGRU] | type[FastLSTM]) -> None:
    torch.manual_seed(0)
    rnn, x = kind(4, 5, 2, batch_first=True, dropout=0.5), torch.randn(3, 6, 4)
    assert not torch.equal(rnn(x)[0], rnn(x)[0])
    rnn.eval()
    assert torch.equal(rnn(x)[0], rnn(x)[0])


def test_lstm_layer_by_layer_is_that_of_torch() -> None:
    torch.manual_seed(0)
    ours = FastLSTM(4, 5, 3, batch_first=True, dropout=1e-9)  # drops nothing: p has 16 bits
    theirs = nn.LSTM(4, 5, 3, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(7, 9, 4)

    def run(lstm: nn.LSTM) -> list[Tensor]:
        outputs, (h, c) = lstm(x)
        (outputs.square().sum() + h.sum() + c.sum()).backward()
        return [outputs, h, c, *(p.grad for p in lstm.parameters())]

    torch.testing.assert_close(run(ours), run(theirs))


@pytest.mark.parametrize("n_stocks", [1, 32, 45])
@pytest.mark.parametrize("p", [0.0, 1e-9])  # the second takes the path with dropout, drops nothing
def test_an_lstm_fills_up_its_rows(
    n_stocks: int, p: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    ours = FastLSTM(6, 16, 2, batch_first=True, dropout=p)
    theirs = nn.LSTM(6, 16, 2, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(n_stocks, 9, 6)
    computed, lstm = [], torch.lstm
    monkeypatch.setattr(torch, "lstm", lambda x, *rest: computed.append(len(x)) or lstm(x, *rest))
    monkeypatch.setattr("torch._VF.lstm", torch.lstm)

    def run(lstm: nn.LSTM, low: bool = False) -> list[Tensor]:
        lstm.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            outputs, (h, c) = lstm(x)
        (outputs.float().square().sum() + h.float().sum() + c.float().sum()).backward()
        gradients = [p.grad.clone() for p in lstm.parameters() if p.grad is not None]
        return [outputs.detach(), h.detach(), c.detach(), *gradients]

    exact = run(theirs)
    computed.clear()
    torch.testing.assert_close(run(ours), exact)
    rounded = run(ours, low=True)
    assert set(computed) == {-(-n_stocks // ROWS) * ROWS}
    for value, low in zip(exact, rounded, strict=True):
        assert low.shape == value.shape
        assert (low.float() - value).norm() < 2e-2 * value.norm()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.7])
def test_dropout_keeps_its_share_and_the_mean(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(100_001, requires_grad=True)
    dropped = dropout(x, p)
    kept = dropped != 0
    for lane in range(4):  # four elements share a draw
        assert abs(kept[lane::4].float().mean() - (1 - p)) < 4 * (p * (1 - p) / 25_000) ** 0.5
    agree = (kept[:-1] == kept[1:]).float().mean()
    assert abs(agree - (p**2 + (1 - p) ** 2)) < 0.01  # neighbours are independent
    torch.testing.assert_close(dropped[kept], torch.full((int(kept.sum()),), 1 / (1 - p)))
    dropped.sum().backward()
    torch.testing.assert_close(x.grad, dropped.detach())
    assert dropout(x, 1.0).count_nonzero() == 0
