"""What every model shows of itself, by the tensors that its probes see; found by the yaml files."""

import copy
from unittest.mock import patch

import pytest
import torch
from conftest import MakeDay, Run
from torch import nn

from alphazoo.config import compose, instantiate
from alphazoo.models.base import StockModel
from alphazoo.models.probe import Probe, Shown, equal_shares, find_probes, observe, show
from alphazoo.models.transformer import EncoderLayer


def make(name: str, *options: str) -> StockModel:
    torch.manual_seed(0)
    config = compose(f"model={name}", "model.hidden_size=8", *(f"model.{o}" for o in options))
    return instantiate(config.model).eval()


def test_everything_that_is_declared_is_shown_with_its_axes(run: Run) -> None:
    shown, day = run.model.inside(run.day), run.day
    assert list(dict.fromkeys(p.kind for p in find_probes(run.model).values())) == run.model.shows
    assert set(shown) == set(find_probes(run.model))
    n, t, f = day.features.shape
    sizes = {"stock": n, "other": n, "step": t, "feature": f, "concept": day.concepts.shape[1]}
    for name, (_, values, axes, coordinates, _) in shown.items():
        assert values.isfinite().all(), name
        assert not values.requires_grad
        assert values.ndim == len(axes), name
        assert all(sizes.get(a, size) == size for a, size in zip(axes, values.shape, strict=True))
        for places in coordinates.values():
            assert torch.broadcast_to(places, values.shape).dtype == torch.int64


def test_shares_sum_to_one(run: Run) -> None:
    shown = run.model.inside(run.day)
    for name, probe in find_probes(run.model).items():
        if probe.shares:
            sums = shown[name].tensor.sum(dim=-1)
            whole = torch.where(sums > 0, torch.ones_like(sums), sums)  # who reads nothing: 0
            torch.testing.assert_close(sums, whole)


def test_scores_are_bit_equal_with_and_without_an_observer(run: Run) -> None:
    seen: list[str] = []
    with torch.no_grad():
        alone = run.model(run.day)
        with observe(run.model, lambda name, shown: seen.append(name)):
            watched = run.model(run.day)
        after = run.model(run.day)
    assert torch.equal(watched, alone)
    assert torch.equal(after, alone)
    assert set(seen) == set(find_probes(run.model))


def test_an_observer_does_not_change_training(run: Run) -> None:
    gradients = []
    for watched in (False, True):
        model = copy.deepcopy(run.model).train()
        torch.manual_seed(0)
        with observe(model, lambda name, shown: None, *([] if watched else ["nothing"])):
            scores = model(run.day)
        if scores.requires_grad:
            scores.sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    for alone, seen in zip(*gradients, strict=True):
        assert (alone is None and seen is None) or torch.equal(alone, seen)


def test_shares_decide_the_score(run: Run) -> None:
    """Equal shares take the place of those that are shown, so they are those that are used."""
    used = [probe for probe in find_probes(run.model).values() if probe.shares]
    shown: list[Shown] = []
    model = copy.deepcopy(run.model)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3)  # a fit of two epochs attends almost equally
        model.build_memory(run.data.days("train"))
        with equal_shares(model), observe(model, lambda name, seen: shown.append(seen)):
            flat = model(run.day)
        assert torch.equal(flat, model(run.day)) == (not used)


def test_nothing_is_computed_that_nobody_asks_for(make_day: MakeDay) -> None:
    model, day = make("transformer", "heads=2"), make_day(5)
    with patch.object(EncoderLayer, "_weigh", side_effect=AssertionError):
        model(day)
        with pytest.raises(AssertionError):
            model.inside(day)


@pytest.mark.parametrize("causal", ["true", "false"])
@pytest.mark.parametrize("name", ["transformer", "localformer"])
def test_time_attention_is_that_of_the_fused_kernel(
    name: str, causal: str, make_day: MakeDay
) -> None:
    """The weights times the values are the result of the kernel: they may replace it."""
    model, day = make(name, "heads=2", f"causal={causal}", "pooling=mean"), make_day(5)
    with observe(model, lambda name, shown: shown.tensor.clone()):  # equal, but not the same
        replaced = model(day)
    torch.testing.assert_close(replaced, model(day))
    for _, values, axes, _, _ in model.inside(day).values():
        assert axes == ("stock", "head", "query", "step")
        future = torch.ones(20, 20).triu(1).bool()
        assert (values[..., future] == 0).all() == (causal == "true")


def test_a_tcn_shows_its_receptive_field(make_day: MakeDay) -> None:
    """Two layers with kernels of 3 see 13 days: those with a gradient."""
    model, day = make("tcn", "num_layers=2"), make_day(4)
    shares = model.inside(day)["paths"].tensor
    features = day.features.requires_grad_()
    (gradient,) = torch.autograd.grad(model(day._replace(features=features)).sum(), features)
    assert torch.equal(shares > 0, gradient.abs().sum(dim=(0, 2)) > 0)
    assert (shares > 0).sum() == 13


def test_the_paths_of_a_tcn_by_hand(make_day: MakeDay) -> None:
    """One layer with a kernel of 2: today by 1 + 1 paths, yesterday by 2, the day before by 1."""
    shares = make("tcn", "num_layers=1", "kernel_size=2").inside(make_day(2))["paths"].tensor
    torch.testing.assert_close(shares[-4:], torch.tensor([0.0, 1.0, 2.0, 2.0]) / 5)


def test_sfm_shows_the_power_of_the_last_memory(make_day: MakeDay) -> None:
    """A single frequency whose gates are open: the memory is the sum of the candidates."""
    model, day = make("sfm", "n_frequencies=3"), make_day(4)
    power = model.inside(day)["spectrum"].tensor
    assert power.shape == (4, 3)
    assert (power > 0).all()
    still = day._replace(features=torch.zeros_like(day.features))
    shown = model.inside(still)["spectrum"].tensor
    torch.testing.assert_close(shown, shown[:1].expand(4, 3))


def test_igmtf_names_its_neighbours(make_day: MakeDay) -> None:
    """The most similar training day of a day is that day itself, and its neighbours are from it."""
    model = make("igmtf", "k_day=1", "n_neighbor=2")
    past = [
        make_day(6, seed=s)._replace(date=torch.tensor(10 + s), stocks=torch.arange(6) + 100 * s)
        for s in range(4)
    ]
    model.build_memory(past)
    shown = model.inside(past[2])
    assert shown["nearest_days"].coordinates["other_date"].tolist() == [12]
    torch.testing.assert_close(shown["nearest_days"].tensor, torch.ones(1), rtol=0, atol=1e-4)
    neighbours = shown["neighbours"]
    assert (neighbours.coordinates["other_date"] == 12).all()
    assert ((neighbours.coordinates["other"] // 100) == 2).all()
    assert (neighbours.tensor.diff(dim=1) <= 1e-6).all()  # the nearest first


def test_hist_shows_the_members_of_its_concepts(make_day: MakeDay) -> None:
    model, day = make("hist"), make_day(6)
    members = model.inside(day)["members"].tensor
    expected = (day.concepts / (day.concepts.sum(dim=0) + 1)).T
    torch.testing.assert_close(members, expected)


def test_the_terms_of_a_score_add_up_to_it(run: Run) -> None:
    """Up to a constant of the day, which HIST's head adds."""
    for part in run.model.inside(run.day, "terms").values():
        assert part.axes == ("stock", "term")
        assert part.tensor.shape[1] == len(set(part.terms))
        rest = run.model(run.day) - part.tensor.sum(dim=1)
        torch.testing.assert_close(rest, rest.mean().expand_as(rest), rtol=1e-4, atol=1e-6)
        assert part.tensor.std(dim=0).min() > 1e-5


def test_several_calls_of_a_probe_are_shown_as_their_mean() -> None:
    probe = Probe("weights", "step")
    calls = nn.Module()
    calls.probe = probe
    calls.forward = lambda rows: [probe(row) for row in rows]  # type: ignore[method-assign]
    rows = torch.tensor([[1.0, 0.0], [2.0, 3.0], [6.0, 0.0]])
    assert show(calls, rows)["probe"].tensor.tolist() == [3, 1]


def test_a_probe_refuses_names_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="'gaze'"):
        Probe("gaze", "stock")
    with pytest.raises(ValueError, match="'stoc'"):
        Probe("attention", "stoc")
