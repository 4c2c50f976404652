"""DTML: its equations by loops, its normalisation by hand, and what the market does to it."""

import pytest
import torch
from conftest import Alphazoo, MakeDay
from torch import Tensor

from alphazoo.config import compose, instantiate
from alphazoo.data.days import DayBatch
from alphazoo.models.dtml import DTML, ContextNorm


def make(*options: str) -> DTML:
    torch.manual_seed(0)
    sizes = ["model.hidden_size=4", "model.feedforward_size=6"]
    config = compose(
        "model=dtml", "data.indices=[MARKET]", *sizes, *(f"model.{o}" for o in options)
    )
    model = instantiate(config.model)
    assert isinstance(model, DTML)
    return model.eval()


@pytest.fixture
def day(make_day: MakeDay) -> DayBatch:
    return make_day(7, window=5, n_market=21)


def normal(x: Tensor) -> Tensor:
    return (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt()


@pytest.mark.parametrize("norm", ["day", "stock"])
@torch.no_grad()
def test_the_equations_by_loops(day: DayBatch, norm: str) -> None:
    """One stock, day and head at a time; an own LSTM of torch."""
    model = make(f"norm={norm}", "heads=2", "beta=0.7")
    model.norm.weight.copy_(torch.tensor([1.0, -2.0, 0.5, 3.0]))
    model.norm.bias.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    contexts = []
    for window in day.features:
        steps = torch.stack([(model.input.weight @ x + model.input.bias).tanh() for x in window])
        h = torch.nn.LSTM.forward(model.encoder.rnn, steps.unsqueeze(0))[0][0]
        weights = torch.stack([step @ h[-1] for step in h]).softmax(0)
        contexts.append(sum(w * step for w, step in zip(weights, h, strict=True)))
    together = torch.stack(contexts)
    rows = normal(together) if norm == "day" else torch.stack([normal(c) for c in contexts])
    market = (model.market.weight @ day.market + model.market.bias).tanh()
    z = [model.norm.weight * row + model.norm.bias + 0.7 * market for row in rows]
    layer, attended = model.stocks, []
    query, key, value = layer.projections.weight.chunk(3)
    for row in z:
        heads = []
        for part in (slice(0, 2), slice(2, 4)):
            logits = torch.stack([(query @ row)[part] @ (key @ other)[part] for other in z])
            shares = (logits / 2**0.5).softmax(0)
            values = [(value @ other)[part] for other in z]
            heads.append(sum(s * v for s, v in zip(shares, values, strict=True)))
        attended.append(normal(row + layer.output(torch.cat(heads))))
    first, _, _, second = layer.feedforward
    states = [normal(a + second(first(a).relu())).tanh() for a in attended]
    expected = torch.cat([model.head(state) for state in states])
    torch.testing.assert_close(model(day), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_norm_by_hand() -> None:
    """Of 1, 3, 5, 7 the mean is 4 and the deviation the root of 5; of a row, it is 1."""
    contexts = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    whole, rows = (ContextNorm(2, over_stocks=flag)(contexts) for flag in (True, False))
    expected = torch.tensor([[-3.0, -1.0], [1.0, 3.0]]) / 5**0.5
    torch.testing.assert_close(whole, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(rows, torch.tensor([[-1.0, 1.0], [-1.0, 1.0]]), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_day_is_normalised_together(day: DayBatch) -> None:
    """Contexts have mean 0 and variance 1 over the day, or those of each stock."""
    whole, rows = (make(f"norm={norm}")._contexts(day) for norm in ("day", "stock"))
    assert float(whole.mean()) == pytest.approx(0, abs=1e-5)
    assert float(whole.var(correction=0)) == pytest.approx(1, abs=1e-2)
    assert whole.mean(dim=1).abs().max() > 0.1
    torch.testing.assert_close(rows.mean(dim=1), torch.zeros(7), rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_market_reaches_scores_by_its_weight(day: DayBatch) -> None:
    changes = []
    for beta in ("1e-6", "0.1", "1"):
        model = make(f"beta={beta}")
        other = model(day._replace(market=-day.market))
        changes.append(float((other - model(day)).abs().max()))
    assert changes[0] < 1e-5 < changes[1] < changes[2]


@torch.no_grad()
def test_the_market_moves_attention_to_stocks(day: DayBatch) -> None:
    model, other = make("beta=1"), day._replace(market=-day.market)
    before, after = (model.inside(d)["stocks.attention"].tensor for d in (day, other))
    torch.testing.assert_close(after.sum(dim=-1), torch.ones(1, 2, 7))
    assert (before - after).abs().max() > 1e-3


@torch.no_grad()
def test_a_stock_sees_the_others(day: DayBatch) -> None:
    model, features = make("norm=stock"), day.features.clone()
    features[3] += 1
    assert (model(day._replace(features=features)) != model(day)).all()


def test_the_penalty_is_that_of_the_head(day: DayBatch) -> None:
    """lambda times the squared norm of its weights and bias; nothing on a day without labels."""
    plain, strict = make("head_penalty=0"), make("head_penalty=2")
    norm = sum(p.square().sum() for p in strict.head.parameters())
    torch.testing.assert_close(strict.loss(day) - plain.loss(day), 2 * norm)
    assert strict.loss(day.without_labels()) == 0
    torch.testing.assert_close(plain.loss(day), (plain(day) - day.labels).square().mean())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["data.indices=[]"], "DTML needs a market state: set data.indices"),
        (["model.heads=3"], "hidden_size must be even and divisible by heads, got 64, 3"),
        (["model.norm=batch"], "unknown model.norm 'batch'; available: day, stock"),
    ],
)
def test_what_does_not_fit_is_one_line(
    options: list[str], message: str, alphazoo: Alphazoo
) -> None:
    result = alphazoo("train", "model=dtml", "data.indices=[MARKET]", *options)
    assert message in str(result.code)
    assert "Traceback" not in result.err
