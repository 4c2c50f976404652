"""Each loss against a plain loop; rules that every loss keeps: a new loss is tested by its yaml."""

import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import product

import pytest
import torch
from conftest import MakeDay
from scipy.stats import rankdata
from torch import Tensor

from alphazoo.config import compose, config_dir, instantiate
from alphazoo.errors import InputError
from alphazoo.losses import pairs
from alphazoo.losses.base import Loss
from alphazoo.losses.correlation import FLAT

LOSSES = sorted(file.stem for file in (config_dir() / "loss").glob("*.yaml"))
NAN = float("nan")

Numbers = Sequence[float]


def make(name: str, *overrides: str) -> Loss:
    loss: Loss = instantiate(compose(f"loss={name}", *overrides).loss)
    return loss


@pytest.fixture(params=LOSSES)
def loss(request: pytest.FixtureRequest) -> Loss:
    return make(request.param)


def draw(loss: Loss, n: int = 9, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, labels with a tie, and whole numbers as weights."""
    random = torch.Generator().manual_seed(seed)
    shape = (n, loss.n_outputs) if loss.n_outputs > 1 else (n,)
    outputs = torch.randn(shape, generator=random, dtype=torch.float64)
    labels = torch.randn(n, generator=random, dtype=torch.float64)
    if type(loss).__name__ != "ListMLE":  # there, ties count by their order
        labels[1] = labels[0]
    weights = torch.randint(1, 4, (n,), generator=random).double()
    return outputs.requires_grad_(), labels, weights


def mean(x: Numbers) -> float:
    return sum(x) / len(x)


def mse(p: Numbers, y: Numbers) -> float:
    return mean([(a - b) ** 2 for a, b in zip(p, y, strict=True)])


def correlation(p: Numbers, y: Numbers) -> float:
    cov = mean([(a - mean(p)) * (b - mean(y)) for a, b in zip(p, y, strict=True)])
    spread = mean([(a - mean(p)) ** 2 for a in p]) + FLAT
    return cov / math.sqrt(spread * mean([(b - mean(y)) ** 2 for b in y]))


def ccc(p: Numbers, y: Numbers) -> float:
    cov = mean([(a - mean(p)) * (b - mean(y)) for a, b in zip(p, y, strict=True)])
    spread = mean([(a - mean(p)) ** 2 for a in p]) + mean([(b - mean(y)) ** 2 for b in y])
    return 1 - 2 * cov / (spread + (mean(p) - mean(y)) ** 2)


def over_pairs(penalty: Callable[[float], float]) -> Callable[[Numbers, Numbers], float]:
    def total(p: Numbers, y: Numbers) -> float:
        n = range(len(p))
        return mean([penalty(p[i] - p[j]) for i, j in product(n, n) if y[i] > y[j]])

    return total


def wrong_order(p: Numbers, y: Numbers) -> float:
    n = range(len(p))
    return mean([max(-(p[i] - p[j]) * (y[i] - y[j]), 0) for i, j in product(n, n)])


def softmax(x: Numbers) -> list[float]:
    return [math.exp(a) / sum(math.exp(b) for b in x) for a in x]


def listnet(p: Numbers, y: Numbers) -> float:
    return -sum(q * math.log(s) for q, s in zip(softmax(y), softmax(p), strict=True))


def listmle(p: Numbers, y: Numbers) -> float:
    order = [score for _, score in sorted(zip(y, p, strict=True), key=lambda pair: -pair[0])]
    return mean(
        [math.log(sum(math.exp(s) for s in order[i:])) - order[i] for i in range(len(order))]
    )


def soft_rank(p: Numbers, y: Numbers) -> float:
    deviation = math.sqrt(mean([(a - mean(p)) ** 2 for a in p]) + FLAT)
    soft = [sum(1 / (1 + math.exp((b - a) / deviation / 0.1)) for b in p) / len(p) for a in p]
    return 1 - correlation(soft, [*rankdata(y) / len(y)])


def huber(p: Numbers, y: Numbers) -> float:
    errors = [abs(a - b) for a, b in zip(p, y, strict=True)]
    return mean([e**2 / 2 if e <= 1 else e - 0.5 for e in errors])


def gaussian(p: Sequence[Numbers], y: Numbers) -> float:
    densities = [
        math.exp(-((b - m) ** 2) / (2 * math.exp(s))) / math.sqrt(2 * math.pi * math.exp(s))
        for (m, s), b in zip(p, y, strict=True)
    ]
    return -mean([math.log(density) for density in densities])


LOOPS: dict[str, Callable[..., float]] = {
    "mse": mse,
    "huber": huber,
    "quantile": lambda p, y: mean([abs(a - b) / 2 for a, b in zip(p, y, strict=True)]),
    "gaussian": gaussian,
    "ic": lambda p, y: 1 - correlation(p, y),
    "ccc": ccc,
    "mixed": lambda p, y: mse(p, y) + 1 - correlation(p, y),
    "pairwise_hinge": over_pairs(lambda d: max(1 - d, 0)),
    "ranknet": over_pairs(lambda d: math.log(1 + math.exp(-d))),
    "mse_pairwise": lambda p, y: mse(p, y) + 0.1 * wrong_order(p, y),
    "listnet": listnet,
    "listmle": listmle,
    "soft_rank": soft_rank,
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("block", [pairs.PAIRS, 20])  # 20: two rows of nine stocks at a time
def test_a_loss_is_its_equation(name: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "PAIRS", block)
    loss = make(name)
    outputs, labels, _ = draw(loss)
    expected = LOOPS[name](outputs.tolist(), labels.tolist())
    assert float(loss(outputs.detach(), labels)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("block", [pairs.PAIRS, 20])
def test_the_gradient_is_that_of_the_loss(
    loss: Loss, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "PAIRS", block)
    outputs, labels, weights = draw(loss)
    labels[3] = NAN
    assert torch.autograd.gradcheck(lambda x: loss(x, labels, weights), outputs)


def test_a_stock_of_weight_two_counts_as_two_stocks(loss: Loss) -> None:
    outputs, labels, weights = draw(loss)
    times = weights.long()
    twice = outputs.repeat_interleave(times, dim=0), labels.repeat_interleave(times)
    weighted = loss(outputs, labels, 10 * weights)
    if type(loss).__name__ not in ("ListMLE", "ListNet"):  # these depend on the number of stocks
        torch.testing.assert_close(weighted, loss(*twice))
    torch.testing.assert_close(weighted, loss(outputs, labels, weights))
    equal = torch.full_like(labels, 3.0)
    torch.testing.assert_close(loss(outputs, labels, equal), loss(outputs, labels))


def test_the_order_of_stocks_does_not_matter(loss: Loss) -> None:
    outputs, labels, weights = draw(loss)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    shuffled = loss(outputs[order], labels[order], weights[order])
    torch.testing.assert_close(shuffled, loss(outputs, labels, weights))


@pytest.mark.parametrize("weighted", [False, True])
def test_stocks_without_a_label_do_not_enter_a_loss(loss: Loss, weighted: bool) -> None:
    """Neither do their outputs, which may be NaN."""
    outputs, labels, weights = draw(loss)
    known = torch.tensor([stock not in (2, 5) for stock in range(len(labels))])
    torn = outputs.detach().clone()
    torn[2] = NAN
    torn.requires_grad_()
    w, v = (weights, weights[known]) if weighted else (None, None)
    whole = loss(torn, labels.where(known, torch.tensor(NAN)), w)
    torch.testing.assert_close(whole, loss(outputs[known], labels[known], v))
    whole.backward()
    assert torn.grad is not None
    assert torn.grad.isfinite().all()
    assert not torn.grad[~known].any()


@pytest.mark.parametrize("labels", [[NAN] * 4, [NAN, 0.3, NAN, NAN], [0.2] * 4, []])
def test_days_that_rank_no_stock_have_a_finite_gradient(loss: Loss, labels: list[float]) -> None:
    shape = (len(labels), loss.n_outputs) if loss.n_outputs > 1 else (len(labels),)
    outputs = torch.linspace(-1, 1, math.prod(shape)).view(shape).requires_grad_()
    known = sum(map(math.isfinite, labels))
    value = loss(outputs, torch.tensor(labels))
    value.backward()
    assert outputs.grad is not None
    assert value.isfinite()
    assert outputs.grad.isfinite().all()
    if known < loss.min_stocks:
        assert value == 0
        assert not outputs.grad.any()


def test_equal_scores_have_a_finite_gradient_that_separates_them(loss: Loss) -> None:
    shape = (5, loss.n_outputs) if loss.n_outputs > 1 else (5,)
    outputs = torch.zeros(shape, requires_grad=True)
    loss(outputs, torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])).backward()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()
    assert outputs.grad.view(5, -1)[-1, 0] < outputs.grad.view(5, -1)[0, 0]


def test_scores_far_apart_do_not_overflow(loss: Loss) -> None:
    outputs, labels, _ = draw(loss)
    far = (outputs.detach().float() * 1e3).requires_grad_()
    if loss.n_outputs == 1:
        loss(far, labels.float()).backward()
        assert far.grad is not None
        assert far.grad.isfinite().all()


def test_a_perfect_order_has_a_lower_loss_than_the_opposite(loss: Loss) -> None:
    _, labels, _ = draw(loss)
    best, worst = labels, -labels
    if loss.n_outputs > 1:
        best, worst = (torch.stack([x, torch.zeros_like(x)], dim=1) for x in (best, worst))
    assert loss(best, labels) < loss(worst, labels)


PEAK = """
import resource, sys, torch
from alphazoo.config import compose, instantiate

loss = instantiate(compose(f"loss={sys.argv[1]}").loss)
outputs = torch.randn((5000, 2) if loss.n_outputs > 1 else 5000, requires_grad=True)
loss(outputs[:50], torch.randn(50)).backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
loss(outputs, torch.randn(5000)).backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_a_day_of_5000_stocks_needs_less_than_one_matrix_of_all_pairs(name: str) -> None:
    command = [sys.executable, "-c", PEAK, name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 4 * 5000**2


def test_no_matrix_of_all_pairs_is_kept_for_the_backward_pass(loss: Loss) -> None:
    outputs, labels, _ = draw(loss, n=1500)
    kept: list[int] = []

    def keep(x: Tensor) -> Tensor:
        kept.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        loss(outputs, labels)
    assert max(kept, default=0) <= 2 * 1500


def test_mse_is_bit_for_bit_the_mean_over_known_labels() -> None:
    """Runs of earlier versions can therefore be repeated."""
    random = torch.Generator().manual_seed(0)
    labels = torch.randn(301, generator=random)
    labels[::7] = NAN
    outputs = torch.randn(301, generator=random).requires_grad_()
    known = labels.isfinite()
    errors = torch.where(known, outputs - labels.nan_to_num(), 0.0)
    expected = errors.square().sum() / known.sum().clamp(min=1)
    value = make("mse")(outputs, labels)
    assert torch.equal(value, expected)
    gradients = [torch.autograd.grad(x, outputs)[0] for x in (value, expected)]
    assert torch.equal(*gradients)


def test_several_outputs_need_a_loss_of_several(loss: Loss) -> None:
    with pytest.raises(InputError, match=f"needs {loss.n_outputs} outputs per stock, but the mod"):
        loss(torch.zeros(4, 3), torch.zeros(4))


def test_the_loss_of_horizons_is_the_mean_of_each(make_day: MakeDay) -> None:
    loss, day = make("ic"), make_day(8)
    targets = torch.stack([day.labels, day.returns], dim=1)
    day = day._replace(targets=targets, stock_weights=torch.arange(8.0))
    outputs = torch.randn(8, 2, generator=torch.Generator().manual_seed(3))
    each = [loss(outputs[:, i], targets[:, i], day.stock_weights) for i in range(2)]
    torch.testing.assert_close(loss.on_day(outputs, day), (each[0] + each[1]) / 2)
    both = [loss(outputs[:, 0], targets[:, i], day.stock_weights) for i in range(2)]
    torch.testing.assert_close(loss.on_day(outputs[:, 0], day), (both[0] + both[1]) / 2)
    with pytest.raises(InputError, match="3 outputs per stock for 2 horizons"):
        loss.on_day(torch.zeros(8, 3), day)


def test_a_day_weighs_nothing_if_it_has_too_few_labels(make_day: MakeDay) -> None:
    day = make_day(3)._replace(day_weight=torch.tensor(0.5))
    one = day._replace(labels=torch.tensor([NAN, 0.1, NAN]))
    assert make("mse").weight_of(day) == make("ranknet").weight_of(day) == 0.5
    assert make("mse").weight_of(one) == 0.5
    assert make("ranknet").weight_of(one) == 0
    assert make("mse").weight_of(one._replace(stock_weights=torch.tensor([1.0, 0.0, 1.0]))) == 0
