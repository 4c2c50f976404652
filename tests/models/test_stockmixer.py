"""StockMixer: its equations by loops, days with absent stocks, and its fixed universe."""

from pathlib import Path

import pytest
import torch
from conftest import Alphazoo, MakeDay, fit, make_data, small_config
from torch import Tensor

from alphazoo.config import compose, instantiate
from alphazoo.errors import InputError
from alphazoo.models.stockmixer import IndicatorMix, StockMixer


def make(*options: str) -> StockMixer:
    torch.manual_seed(0)
    model = instantiate(compose("model=stockmixer", *(f"model.{o}" for o in options)).model)
    assert isinstance(model, StockMixer)
    return model.eval()


def layer_norm(x: Tensor) -> Tensor:
    return (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt()


def mix(block: IndicatorMix, x: Tensor) -> Tensor:
    """One stock [T, F], day by day; the weights of day t are the next t + 1 of all."""
    normed, weights, days, start = layer_norm(x), block.time.weight, [], 0
    for t in range(len(x)):
        own = weights[start : start + t + 1]
        days.append(sum(w * normed[s] for s, w in enumerate(own)) + block.time.bias[t])
        start += t + 1
    x = layer_norm(torch.stack(days) + x)
    return x + block.channels(x)


@torch.no_grad()
def test_the_equations_by_loops(make_day: MakeDay) -> None:
    """Four of the six stocks of the universe are there."""
    model = make("window=5", "n_stocks=6", "market_size=3", "n_features=2")
    day = make_day(4, window=5, n_features=2)._replace(stocks=torch.tensor([0, 2, 3, 5]))
    kernel, offset = model.convolution.weight, model.convolution.bias
    universe = torch.zeros(6, 12)
    for stock, x in zip(day.stocks, day.features, strict=True):
        pairs = [kernel[:, :, 0] @ x[t] + kernel[:, :, 1] @ x[t + 1] + offset for t in (0, 2)]
        parts = [x, mix(model.mix, x), mix(model.pair_mix, torch.stack(pairs))]
        universe[stock] = model.reduce(torch.cat(parts))[:, 0]
    _, down, _, up = model.market
    mixed = torch.zeros(6, 12)
    for step in range(12):
        a = down(layer_norm(universe[:, step]))
        mixed[:, step] = up(a * (a + 3).clamp(0, 6) / 6)
    expected = model.head(universe) + model.market_head(mixed)
    torch.testing.assert_close(model(day), expected[day.stocks, 0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("n_stocks", "n_features", "count"), [(1026, 5, 45_077), (644, 6, 28_819)])
def test_parameters_are_those_of_the_reference(n_stocks: int, n_features: int, count: int) -> None:
    model = make("window=16", f"n_stocks={n_stocks}", f"n_features={n_features}")
    assert sum(p.numel() for p in model.parameters()) == count


def test_no_day_reads_a_later_one() -> None:
    block = make("window=5").mix
    x = torch.randn(1, 5, 6, requires_grad=True)
    block.time(x)[0, 2].sum().backward()
    assert x.grad is not None
    assert x.grad[0].any(dim=1).tolist() == [True, True, True, False, False]


def test_another_universe_is_refused(tmp_path: Path) -> None:
    run = fit(small_config("model=stockmixer", f"folder={tmp_path}"))
    model = StockMixer.load_from_checkpoint(run.last_checkpoint, weights_only=True)
    assert model.names == list(run.data.market.symbols)
    more = make_data(small_config("data.n_stocks=14"))
    with pytest.raises(InputError, match="has 14 stocks, but model.n_stocks=12"):
        run.trainer.test(model, more, verbose=False)
    assert isinstance(model.names, list)
    model.names = ["NEW", *model.names[1:]]
    with pytest.raises(InputError, match="another universe .*; they differ in NEW, "):
        run.trainer.test(model, run.data, verbose=False)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("model.n_stocks=0", "needs model.n_stocks, the number of stocks of the universe"),
        ("model.window=1", "needs features.window of at least 2 days, got 1"),
    ],
)
def test_what_does_not_fit_is_one_line(option: str, message: str, alphazoo: Alphazoo) -> None:
    assert message in str(alphazoo("train", "model=stockmixer", option).code)
