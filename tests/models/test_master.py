"""MASTER: parity with the authors' network, a case worked by hand, its gate and its attention."""

import math

import pytest
import torch
from conftest import Alphazoo, MakeDay, real_data
from torch import Tensor

from alphazoo.config import compose, instantiate
from alphazoo.data.days import DayBatch
from alphazoo.models import master
from alphazoo.models.master import MASTER
from alphazoo.models.probe import observe
from alphazoo.qlib import load_weights

THREE = "data.indices=[SH000300,SH000905,SH000906]"


def make(*options: str) -> MASTER:
    torch.manual_seed(0)
    config = compose("model=master", "data.indices=[MARKET]", *(f"model.{o}" for o in options))
    model = instantiate(config.model)
    assert isinstance(model, MASTER)
    return model.eval()


@pytest.fixture
def day(make_day: MakeDay) -> DayBatch:
    return make_day(7, window=5, n_market=21)


@torch.no_grad()
def test_scores_equal_those_of_the_authors_network(make_day: MakeDay) -> None:
    file = real_data("master/golden.safetensors")
    golden = pytest.importorskip("safetensors.torch").load_file(file)
    state = {k.removeprefix("state."): v for k, v in golden.items() if k.startswith("state.")}
    model = instantiate(compose("model=master", "features=alpha158", THREE).model).eval()
    load_weights(model, state)
    given = {name: golden[name] for name in ("features", "market")}
    scores = model(make_day(37)._replace(**given))
    torch.testing.assert_close(scores, golden["scores"], rtol=1e-5, atol=1e-5)


def test_it_has_the_parameters_of_the_paper() -> None:
    model = instantiate(compose("experiment=alpha158_master", THREE).model)
    assert sum(p.numel() for p in model.parameters()) == 775_041


def layer_norm(x: Tensor) -> Tensor:
    return (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt()


@pytest.mark.parametrize("scale_time", [False, True])
@torch.no_grad()
def test_the_equations_by_loops(day: DayBatch, scale_time: bool) -> None:
    """One number at a time: gate, both attentions with two heads of two, pooling."""
    options = ["hidden_size=4", "time_heads=2", "beta=2", f"scale_time={scale_time}".lower()]
    model = make(*options)

    def attend(block: master.AttentionBlock, rows: list[Tensor], scale: float) -> list[Tensor]:
        rows = [layer_norm(row) for row in rows]
        out = []
        for row in rows:
            heads = []
            for part in (slice(0, 2), slice(2, 4)):
                query = (block.query.weight @ row)[part]
                keys = [(block.key.weight @ other)[part] for other in rows]
                logits = torch.stack([query @ key for key in keys]) * scale
                values = [(block.value.weight @ other)[part] for other in rows]
                pairs = zip(logits.softmax(0), values, strict=True)
                heads.append(sum(weight * value for weight, value in pairs))
            z = layer_norm(row + torch.cat(heads))
            first, _, _, second, _ = block.feedforward
            out.append(z + second(first(z).relu()))
        return out

    logits = (model.gate.weight @ day.market + model.gate.bias) / 2
    gate = 6 * logits.exp() / logits.exp().sum()
    windows = []
    for window in day.features:
        rows = []
        for t, x in enumerate(window):
            angles = [t, t, t / 100, t / 100]
            code = [f(a) for f, a in zip([math.sin, math.cos] * 2, angles, strict=True)]
            rows.append(model.input(gate * x) + torch.tensor(code))
        windows.append(attend(model.time, rows, 0.5**0.5 if scale_time else 1.0))
    across = [attend(model.stocks, [window[t] for window in windows], 0.5**0.5) for t in range(5)]
    expected = []
    for n in range(7):
        states = [step[n] for step in across]
        u = [model.pooling.weight @ state for state in states]
        weights = torch.stack([x @ u[-1] for x in u]).softmax(0)
        pooled = sum(w * state for w, state in zip(weights, states, strict=True))
        expected.append(model.head(pooled))
    torch.testing.assert_close(model(day), torch.cat(expected), rtol=1e-4, atol=1e-5)


def test_the_gate_gives_shares(day: DayBatch) -> None:
    sharp, soft = (
        make(f"beta={beta}").inside(day, "gate")["gate_weights"].tensor for beta in ("0.5", "5")
    )
    torch.testing.assert_close(sharp.sum(), torch.tensor(1.0))
    torch.testing.assert_close(soft.sum(), torch.tensor(1.0))
    assert sharp.max() > soft.max() > 1 / 6


def test_scores_depend_on_the_market_state_and_the_other_stocks(day: DayBatch) -> None:
    model = make("hidden_size=8")
    scores = model(day)
    assert not torch.equal(model(day._replace(market=-day.market)), scores)
    features = day.features.clone()
    features[3] += 1
    assert (model(day._replace(features=features)) != scores).all()


def test_its_attention_is_that_of_the_fused_kernel(day: DayBatch) -> None:
    """The weights times the values are the result of the kernel: they may replace it."""
    model = make("hidden_size=8")
    with observe(model, lambda name, shown: shown.tensor.clone()):  # equal, but not the same
        replaced = model(day)
    torch.testing.assert_close(replaced, model(day))


def test_the_attention_to_stocks_is_the_mean_over_the_days_of_the_window(day: DayBatch) -> None:
    model, steps = make("hidden_size=8"), []
    with observe(model, lambda name, shown: steps.append(shown.tensor), "attention"):
        model(day)
    assert len(steps) == day.features.shape[1]
    assert not torch.allclose(steps[0], steps[-1])
    shown = model.inside(day)["stocks.attention"].tensor
    assert shown.shape == (2, 7, 7)
    torch.testing.assert_close(shown, torch.stack(steps).mean(dim=0))


def test_many_stocks_learn_like_few(day: DayBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Days of the window one after another, computed again for the gradient."""
    model = make("hidden_size=8", "dropout=1e-9").train()
    gradients = []
    for many in (1000, 2):
        monkeypatch.setattr(master, "MANY", many)
        model.zero_grad()
        model(day).square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["data.indices=[]"], "MASTER needs a market state: set data.indices"),
        (["model.time_heads=3"], "hidden_size must be divisible by time_heads, got 64 and 3"),
        (["model.stock_heads=5"], "hidden_size must be divisible by stock_heads, got 64 and 5"),
        (["model.hidden_size=7"], "hidden_size must be divisible by 2, got 7"),
    ],
)
def test_what_does_not_fit_is_one_line(
    options: list[str], message: str, alphazoo: Alphazoo
) -> None:
    given = ["model=master", "data.indices=[MARKET]", "model.hidden_size=64", *options]
    result = alphazoo("train", *given)
    assert message in str(result.code)
    assert "Traceback" not in result.err
