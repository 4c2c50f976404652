"""FactorVAE: its equations by loops, scores blind to labels, what it says of risk."""

import math
from pathlib import Path

import pytest
import torch
from conftest import Alphazoo, MakeDay
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from alphazoo.config import compose, instantiate
from alphazoo.models.factorvae import FactorVAE


def make(*options: str) -> FactorVAE:
    torch.manual_seed(0)
    sizes = ["model.hidden_size=3", "model.n_factors=2", "model.n_portfolios=4"]
    config = compose("model=factorvae", *sizes, *(f"model.{o}" for o in options))
    model = instantiate(config.model)
    assert isinstance(model, FactorVAE)
    return model.eval()


def prior_by_loops(model: FactorVAE, e: Tensor) -> list[Normal]:
    factors = []
    for k in range(2):
        part = slice(3 * k, 3 * k + 3)
        keys, values = model.key(e)[:, part], model.value(e)[:, part]
        if model.attention == "cosine":
            norms = [key.norm() * model.query[k].norm() for key in keys]
            pairs = zip(keys, norms, strict=True)
            positive = torch.stack([(key @ model.query[k] / norm).relu() for key, norm in pairs])
            weights = positive / positive.sum()
        else:
            logits = [(key @ model.query[k] / math.sqrt(3)).relu() for key in keys]
            weights = torch.stack(logits).softmax(0)
        context = sum(w * value for w, value in zip(weights, values, strict=True))
        h = model.prior_layer(context)
        factors.append(Normal(model.prior.mean(h), F.softplus(model.prior.deviation(h))))
    return factors


def returns_by_loops(model: FactorVAE, e: Tensor, factors: list[Normal]) -> list[Normal]:
    returns = []
    for state in e:
        h, beta = model.alpha_layer(state), model.beta(state)
        mean, variance = model.alpha.mean(h), F.softplus(model.alpha.deviation(h)) ** 2
        for b, z in zip(beta, factors, strict=True):
            mean, variance = mean + b * z.mean, variance + b**2 * z.variance
        returns.append(Normal(mean, variance.sqrt()))
    return returns


@pytest.mark.parametrize("attention", ["softmax", "cosine"])
@torch.no_grad()
def test_the_equations_by_loops(attention: str, make_day: MakeDay) -> None:
    """The third stock has no label: it is scored, but neither held nor learned from."""
    model, day = make(f"attention={attention}", "gamma=0.5"), make_day(6)
    day.labels[2] = torch.nan
    e = model.encoder(model.input(day.features))[:, -1]
    prior = prior_by_loops(model, e)
    forecast = returns_by_loops(model, e, prior)
    torch.testing.assert_close(model(day), torch.cat([r.mean for r in forecast]))
    torch.testing.assert_close(model.uncertainty(day), torch.cat([r.stddev for r in forecast]))
    shown = {name: part.tensor for name, part in model.inside(day).items()}
    torch.testing.assert_close(shown["factor_means"], torch.cat([z.mean for z in prior]))
    torch.testing.assert_close(shown["factor_deviations"], torch.cat([z.stddev for z in prior]))
    torch.testing.assert_close(shown["exposures"], model.beta(e))
    torch.testing.assert_close(shown["deviations"], model.uncertainty(day))

    known = [0, 1, 3, 4, 5]
    weights = model.portfolios(e[known]).softmax(0)
    held = sum(w * y for w, y in zip(weights, day.labels[known], strict=True))
    mean, deviation = model.posterior.mean(held), F.softplus(model.posterior.deviation(held))
    posterior = [Normal(m, s) for m, s in zip(mean, deviation, strict=True)]
    inferred = returns_by_loops(model, e, posterior)
    density = sum(inferred[n].log_prob(day.labels[n]) for n in known) / 5
    divergence = sum(kl_divergence(q, p) for q, p in zip(posterior, prior, strict=True))
    expected = -density + 0.5 * divergence
    torch.testing.assert_close(model.loss(day).unsqueeze(0), expected)


def test_parameters_are_those_of_the_reference() -> None:
    model = instantiate(compose("experiment=alpha158_factorvae").model)
    assert sum(p.numel() for p in model.parameters()) == 62_630


def test_the_posterior_does_not_run_when_it_scores(
    make_day: MakeDay, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, day = make(), make_day(6)
    monkeypatch.setattr(model, "_infer_factors", None)
    assert torch.equal(model(day.without_labels()), model(day))
    assert (model.uncertainty(day) > 0).all()
    assert model.inside(day)["exposures"].tensor.shape == (6, 2)


def test_a_day_without_labels_weighs_nothing(make_day: MakeDay) -> None:
    model = make().train()
    loss = model.loss(make_day(6).without_labels())
    loss.backward()
    assert loss == 0
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_it_is_the_less_certain_the_noisier_the_labels(make_day: MakeDay) -> None:
    found = []
    for scale in (0.2, 2.0):
        model = make("n_factors=1").train()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for step in range(150):
            day = make_day(40, window=2, seed=step)
            optimizer.zero_grad()
            model.loss(day._replace(labels=scale * day.labels)).backward()
            optimizer.step()
        found.append(model.uncertainty(make_day(40, window=2, seed=999)).mean().item())
    assert found == pytest.approx([0.2, 2.0], rel=0.2)


def test_it_has_a_loss_of_its_own(alphazoo: Alphazoo, tmp_path: Path) -> None:
    result = alphazoo("train", "model=factorvae", "loss=ic", f"hydra.run.dir={tmp_path}/run")
    assert "FactorVAE has a loss of its own: expected loss=mse" in str(result.code)


def test_an_unknown_attention_is_named() -> None:
    with pytest.raises(Exception, match="unknown model.attention 'cosin'; did you mean 'cosine'"):
        make("attention=cosin")
