"""Stocks are encoded in blocks of few sizes: the same scores and gradients, less memory."""

import pytest
import torch
from conftest import MakeDay, small_config

from alphazoo.config import instantiate
from alphazoo.models import blocks
from alphazoo.models.base import StockModel

WHOLE = (11, 1)  # all stocks of a day of 11 at once
SIZES = [WHOLE, (4, 1), (4, 2), (1024, 32)]  # of a block, and what rows are filled up to


@pytest.mark.parametrize("name", ["add", "localformer", "mlp", "sfm", "tcn", "transformer"])
def test_blocks_change_neither_loss_nor_gradients(
    name: str, make_day: MakeDay, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = make_day(n_stocks=11)
    found = []
    for stocks, rows in SIZES:
        monkeypatch.setattr(blocks, "STOCKS", stocks)
        monkeypatch.setattr(blocks, "ROWS", rows)
        config = small_config(f"model={name}", "model.dropout=0")
        torch.manual_seed(0)
        model: StockModel = instantiate(config.model).train()
        model.build_memory([day])
        loss = model.loss(day)
        loss.backward()
        gradients = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
        found.append({"loss": loss.detach(), **gradients})
    whole, *others = found
    for other in others:
        assert other.keys() == whole.keys()
        for key, value in whole.items():
            torch.testing.assert_close(other[key], value, rtol=1e-5, atol=1e-6, msg=key)


def test_blocks_change_no_score(make_day: MakeDay, monkeypatch: pytest.MonkeyPatch) -> None:
    day, scores = make_day(n_stocks=11), []
    config = small_config("model=transformer")
    model: StockModel = instantiate(config.model).eval()
    for stocks, rows in SIZES:
        monkeypatch.setattr(blocks, "STOCKS", stocks)
        monkeypatch.setattr(blocks, "ROWS", rows)
        with torch.no_grad():
            scores.append(model(day))
            shown = model.inside(day)["layers.0.time_attention"]
        assert len(shown.tensor) == 11  # an observer sees all stocks at once
    for other in scores[1:]:
        torch.testing.assert_close(other, scores[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("gradients", [False, True])
def test_only_gradients_need_blocks_twice(gradients: bool) -> None:
    sizes = []

    def encode(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        return x.square().sum(dim=(1, 2))

    x = torch.randn(2 * blocks.STOCKS + 5, 2, 3, requires_grad=True)
    with torch.set_grad_enabled(gradients):
        encoded = blocks.encode_in_blocks(encode, x, torch.nn.Identity())
    torch.testing.assert_close(encoded, x.square().sum(dim=(1, 2)))
    if gradients:
        encoded.sum().backward()
        torch.testing.assert_close(x.grad, 2 * x.detach())
    assert sorted(sizes) == sorted([blocks.STOCKS, blocks.STOCKS, blocks.ROWS] * (1 + gradients))
