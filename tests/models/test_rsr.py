"""RSR: its strengths by hand and by loops, what its relations connect, and its fixed concepts."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from conftest import Alphazoo, MakeDay, fit, make_data, small_config
from torch import Tensor, nn

from alphazoo.config import compose, instantiate
from alphazoo.errors import InputError
from alphazoo.models.rsr import RSR

OPTIONS = [
    [f"strength={strength}", f"activation={activation}", f"normalize={normalize}"]
    for strength, activation in (("implicit", "each"), ("implicit", "sum"), ("explicit", "each"))
    for normalize in ("columns", "rows")
]
NAMES = [" ".join(option.partition("=")[2] for option in options) for options in OPTIONS]


def make(*options: str) -> RSR:
    torch.manual_seed(0)
    sizes = ["model.n_concepts=3", "model.hidden_size=8"]
    config = compose("model=rsr", *sizes, *(f"model.{o}" for o in options))
    model = instantiate(config.model)
    assert isinstance(model, RSR)
    return model.eval()


def leaky(x: Tensor, slope: float) -> Tensor:
    return torch.where(x > 0, x, slope * x)


@pytest.mark.parametrize("options", OPTIONS, ids=NAMES)
@torch.no_grad()
def test_the_equations_by_loops(options: Sequence[str], make_day: MakeDay) -> None:
    """Pair by pair, over the stocks that share a concept and the stock itself."""
    model, day, n = make(*options), make_day(6), 6
    nn.init.normal_(model.relation.weight)
    nn.init.normal_(model.relation.bias)
    members = day.concepts.clone()
    members[4] = 0
    day = day._replace(concepts=2.5 * members)
    e = model.encoder(day.features)[:, -1]
    explicit, together, columns = (word in " ".join(options) for word in ("expl", "sum", "col"))
    logits = torch.full((n, n), -math.inf)
    for i in range(n):
        for j in range(n):
            types = torch.cat([members[i] * members[j], torch.tensor([float(i == j)])])
            if not types.any():
                continue
            relation = model.relation(types)
            if explicit:
                logits[i, j] = e[i] @ e[j] * leaky(relation, 0.2)
            elif together:
                first, last = (j, i) if columns else (i, j)
                total = model.fixed(e[first]) + model.summed(e[last]) + relation
                logits[i, j] = leaky(total, 0.2)
            else:
                state = model.summed(e[i if columns else j])
                logits[i, j] = leaky(state, 0.2) + leaky(relation, 0.2)
    weights = logits.softmax(dim=0 if columns else 1)
    revised = torch.stack([sum(weights[i, j] * e[j] for j in range(n)) for i in range(n)])
    expected = leaky(model.head(torch.cat([e, revised], dim=1)), 0.2)[:, 0]
    torch.testing.assert_close(model(day), expected, rtol=1e-5, atol=1e-6)


class States(nn.Module):
    """An encoder whose last states are given."""

    def __init__(self, states: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.states = torch.tensor(states)

    def forward(self, features: Tensor) -> Tensor:
        return self.states.unsqueeze(1)


@torch.no_grad()
def test_three_stocks_by_hand(make_day: MakeDay) -> None:
    """Two stocks of one sector, one alone; w = (log 2, 0, 0, log 4), states 1, 2 and 3.

    The strength of a pair of the sector is log 2, of a stock of it with itself log 2 + log 4 =
    log 8. With u = 0, either column of the sector is (8, 2) / 10. So the first stock reads
    0.8 * 1 + 0.2 * 2 = 1.2, the second 0.2 * 1 + 0.8 * 2 = 1.8, and the third only itself: 3.
    The head is e - 2 e': 1 - 2.4 = -1.4, 2 - 3.6 = -1.6, 3 - 6 = -3; of these, a fifth.
    """
    model = make("hidden_size=1")
    model.encoder = States([[1.0], [2.0], [3.0]])
    model.relation.weight.copy_(torch.tensor([[2.0, 1.0, 1.0, 4.0]]).log())
    model.summed.weight.zero_()
    model.head.weight.copy_(torch.tensor([[1.0, -2.0]]))
    day = make_day(3)._replace(concepts=torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 0, 0]]))
    torch.testing.assert_close(model(day), torch.tensor([-1.4, -1.6, -3.0]) / 5)
    model.output_slope = 1.0
    torch.testing.assert_close(model(day), torch.tensor([-1.4, -1.6, -3.0]))


@torch.no_grad()
def test_the_explicit_strength_by_hand(make_day: MakeDay) -> None:
    """g = 1 in the sector and 1 + 1 on the diagonal; e = 1 and -1: a = 2, -1, -1, 2."""
    model = make("hidden_size=1", "strength=explicit", "normalize=rows")
    model.encoder = States([[1.0], [-1.0]])
    model.relation.weight.copy_(torch.tensor([[1.0, 0, 0, 1.0]]))
    day = make_day(2)._replace(concepts=torch.tensor([[1.0, 0, 0], [1, 0, 0]]))
    own = math.exp(2) / (math.exp(2) + math.exp(-1))
    expected = torch.tensor([[own, 1 - own], [1 - own, own]])
    torch.testing.assert_close(model.inside(day)["attention"].tensor, expected)


@pytest.mark.parametrize("options", OPTIONS, ids=NAMES)
@torch.no_grad()
def test_a_stock_without_relations_reads_itself_alone(
    options: Sequence[str], make_day: MakeDay
) -> None:
    model, day = make(*options), make_day(6)
    concepts = torch.zeros(6, 3)
    concepts[:3, 0] = 1
    day = day._replace(concepts=concepts)
    moved = day._replace(features=day.features + torch.arange(6).eq(1).float().view(6, 1, 1))
    changed = model(moved) != model(day)
    assert changed.tolist() == [True, True, True, False, False, False]
    e = model.encoder(day.features)[:, -1]
    alone = leaky(model.head(torch.cat([e, e], dim=1)), 0.2)[:, 0]
    torch.testing.assert_close(model(day)[3:], alone[3:])


@pytest.mark.parametrize("options", OPTIONS, ids=NAMES)
@torch.no_grad()
def test_weights_are_of_related_stocks_and_sum_to_one(
    options: Sequence[str], make_day: MakeDay
) -> None:
    model, day = make(*options), make_day(7)
    weights = model.inside(day)["attention"].tensor
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(7))
    joined = day.concepts @ day.concepts.T + torch.eye(7) > 0
    assert torch.equal(weights > 0, joined)
    assert not joined.all()


@torch.no_grad()
def test_the_type_of_a_relation_counts(make_day: MakeDay) -> None:
    """Another weight of a concept changes the stocks that have it, and shows as its strength."""
    model, day = make(), make_day(4)
    day = day._replace(concepts=torch.tensor([[1.0, 0, 1], [1, 0, 0], [0, 1, 1], [0, 1, 0]]))
    before = model(day)
    model.relation.weight[0, 0] += 3.0
    assert ((model(day) != before).tolist()) == [True, True, True, False]  # 3 reads 1
    shown = model.inside(day)["relations"].tensor
    expected = leaky(model.relation.weight[0, :3] + model.relation.bias, 0.2)
    torch.testing.assert_close(shown, expected)


def test_code_and_paper_differ_by_their_options() -> None:
    """The paper's form has one bias and a term of both stocks, and a linear score."""
    code, paper = make(), make("activation=sum", "normalize=rows", "output_slope=1")
    names = [{name for name, _ in model.named_parameters()} for model in (code, paper)]
    assert names[0] - names[1] == {"summed.bias"}
    assert names[1] - names[0] == {"fixed.weight"}


def test_other_concepts_are_refused(tmp_path: Path) -> None:
    """A checkpoint fits the concepts of its training run, by number and by name."""
    run = fit(small_config("model=rsr", "model.hidden_size=4", f"folder={tmp_path}"))
    model = RSR.load_from_checkpoint(run.last_checkpoint, weights_only=True)
    assert model.names == ["sector 0", "sector 1"]
    more = make_data(small_config("data.n_sectors=3", "data.n_stocks=15"))
    message = "the data have 3 concepts, but model.n_concepts=2: .* set model.n_concepts=3"
    with pytest.raises(InputError, match=message):
        run.trainer.test(model, more, verbose=False)
    with pytest.raises(InputError, match="the data have 3 concepts"):
        model(more.days("test")[0])
    model.names = ["bank", "sector 1"]
    with pytest.raises(InputError, match="other concepts .*; they differ in bank, sector 0"):
        run.trainer.test(model, run.data, verbose=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["data/concepts=none"], "the data have 0 concepts, .* set data.concepts=FILE"),
        (["model.n_concepts=0"], "RSR needs concepts and their number: set data.concepts=FILE"),
        (["model.strength=both"], "unknown model.strength 'both'; available: explicit, implicit"),
        (["model.activation=all"], "unknown model.activation 'all'; available: each, sum"),
        (["model.normalize=all"], "unknown model.normalize 'all'; available: columns, rows"),
    ],
)
def test_what_does_not_fit_is_one_line(
    options: list[str], message: str, alphazoo: Alphazoo
) -> None:
    result = alphazoo("train", "model=rsr", *options)
    assert re.search(message, str(result.code))
    assert "Traceback" not in result.err


def test_the_number_of_groups_is_known() -> None:
    assert compose("model=rsr", "data/concepts=correlation").model.n_concepts == 30
    assert compose("model=rsr", "data.n_sectors=5").model.n_concepts == 5
