"""Options of single models: what each one changes, by what it must and must not do."""

import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import MakeDay, fit, make_data, small_config
from omegaconf import DictConfig

from alphazoo.config import compose, instantiate
from alphazoo.data.days import DayBatch
from alphazoo.errors import InputError
from alphazoo.market.market import Market
from alphazoo.models.base import StockModel
from alphazoo.models.igmtf import IGMTF
from alphazoo.models.transformer import position_code


def make(name: str, *options: str) -> StockModel:
    torch.manual_seed(0)
    config = compose(f"model={name}", "model.hidden_size=8", *(f"model.{o}" for o in options))
    return instantiate(config.model).eval()


def test_alstm_weights_of_days_sum_to_one(make_day: MakeDay) -> None:
    (weights,) = (shown.tensor for shown in make("alstm", "cell=lstm").inside(make_day(7)).values())
    assert weights.shape == (7, 20)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(7))


def test_an_unknown_cell_is_named() -> None:
    with pytest.raises(Exception, match="unknown model.cell 'grru'; did you mean 'gru'"):
        make("alstm", "cell=grru")


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("aggregate", ["hidden", "transformed"])
def test_gats_by_loops(heads: int, aggregate: str, make_day: MakeDay) -> None:
    """The equations of the paper, pair by pair and head by head."""
    model, day = make("gats", f"heads={heads}", f"aggregate={aggregate}", "slope=0.2"), make_day(5)
    hidden = model.encoder(day.features)[:, -1]
    z, width = model.transform(hidden), 8 // heads
    context = torch.zeros(5, 8)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        values = (z if aggregate == "transformed" else hidden)[:, part]
        for i in range(5):
            logits = torch.stack(
                [
                    z[j, part] @ model.source[head, :, 0] + z[i, part] @ model.target[head, :, 0]
                    for j in range(5)
                ]
            )
            weights = torch.where(logits > 0, logits, 0.2 * logits).softmax(dim=0)
            torch.testing.assert_close(model.inside(day)["attention"].tensor[head, i], weights)
            context[i, part] = weights @ values
    out = model.output(context + hidden)
    expected = model.head(torch.where(out > 0, out, 0.01 * out))[:, 0]
    torch.testing.assert_close(model(day), expected)


def test_gats_drops_attention_only_while_training(make_day: MakeDay) -> None:
    model, day = make("gats", "attention_dropout=0.5", "dropout=0"), make_day(5)
    assert torch.equal(model(day), model(day))
    model.train()
    assert not torch.equal(model(day), model(day))


def test_gats_refuses_what_does_not_fit() -> None:
    with pytest.raises(Exception, match="heads must divide hidden_size, got 3 and 8"):
        make("gats", "heads=3")
    with pytest.raises(Exception, match="unknown model.aggregate 'all'; available: hidden, tr"):
        make("gats", "aggregate=all")
    with pytest.raises(Exception, match="unknown model.graph 'sector'; available: complete"):
        make("gats", "graph=sector")


def test_gats_on_a_graph_of_concepts(make_day: MakeDay) -> None:
    model, day = make("gats", "graph=concepts", "heads=2"), make_day(5)
    concepts = torch.tensor([[1, 0], [1, 0], [1, 0.2], [0, 3], [0, 0]])
    day = day._replace(concepts=concepts)
    attention = model.inside(day)["attention"].tensor
    joined = [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]]
    assert torch.equal(attention > 0, torch.tensor(joined, dtype=torch.bool).expand(2, 5, 5))
    torch.testing.assert_close(attention.sum(dim=2), torch.ones(2, 5))
    full = day._replace(concepts=torch.ones(5, 1))
    assert torch.equal(model(full), make("gats", "heads=2")(full))  # the same weights
    with pytest.raises(InputError, match=r"the model needs concepts"):
        model(day._replace(concepts=torch.empty(5, 0)))


def change(day: DayBatch, first: int) -> DayBatch:
    """The same day with other features before a day of the window."""
    features = day.features.clone()
    features[:, :first] += 1.0
    return day._replace(features=features)


def test_tcn_sees_as_many_days_as_it_says(make_day: MakeDay) -> None:
    """Two layers with kernels of 3 see 1 + 2 * 2 * 3 = 13 days."""
    model, day = make("tcn", "num_layers=2"), make_day(4)
    assert torch.equal(model(change(day, 20 - 13)), model(day))
    assert not torch.equal(model(change(day, 20 - 12)), model(day))


def test_position_code_by_hand() -> None:
    code = position_code(torch.zeros(1, 3, 4))
    for day in range(3):
        expected = [f(day / 10000 ** (k / 4)) for k in (0, 2) for f in (math.sin, math.cos)]
        torch.testing.assert_close(code[day], torch.tensor(expected))


@pytest.mark.parametrize("name", ["transformer", "localformer"])
@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("pre_norm", ["true", "false"])
def test_attention_options_score(name: str, pooling: str, pre_norm: str, make_day: MakeDay) -> None:
    options = [f"pooling={pooling}", f"pre_norm={pre_norm}", "feedforward_size=16"]
    plain, causal = (make(name, *options, f"causal={flag}") for flag in ("false", "true"))
    assert plain.layers[0].feedforward[0].out_features == 16
    assert plain(make_day(3)).isfinite().all()
    assert not torch.equal(plain(make_day(3)), causal(make_day(3)))
    with pytest.raises(Exception, match="unknown model.pooling 'max'; available: last, mean"):
        make(name, "pooling=max")
    with pytest.raises(Exception, match="even and divisible by heads, got 8, 3"):
        make(name, "heads=3")


@pytest.mark.parametrize("pre_norm", ["true", "false"])
def test_the_last_day_alone_is_the_last_of_all(pre_norm: str, make_day: MakeDay) -> None:
    """Computing the last day only, as the Transformer does, changes nothing."""
    layer = make("transformer", f"pre_norm={pre_norm}", "feedforward_size=16").layers[0]
    x = torch.randn(3, 10, 8)
    torch.testing.assert_close(layer(x, last_only=True), layer(x)[:, -1:])


def test_causal_attention_does_not_see_later_days() -> None:
    layer = make("transformer", "causal=true", "feedforward_size=16").layers[0]
    x = torch.randn(3, 10, 8)
    later = x.clone()
    later[:, 6:] += 1.0
    torch.testing.assert_close(layer(later)[:, :6], layer(x)[:, :6])


def test_options_are_input_errors() -> None:
    from alphazoo.models.encoder import Encoder

    with pytest.raises(InputError):
        Encoder(cell="rnn", n_features=1, hidden_size=2, num_layers=1, dropout=0.0)


@pytest.mark.parametrize("modulus", [False, True])
def test_the_memory_of_sfm_has_the_gradient_of_its_equations(modulus: bool) -> None:
    """By finite differences, over more days than are kept between recomputations."""
    from alphazoo.models.sfm import STRIDE, _Memory

    torch.manual_seed(0)
    size, frequencies = 2, 3
    shapes = [(STRIDE + 2, 2, 4 * size + frequencies), (4 * size + frequencies, size), (3,), (2,)]
    tensors = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    mask = torch.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda *given: _Memory.apply(*given, mask, modulus, True, None), tensors
    )


def test_sfm_drops_only_while_training(make_day: MakeDay) -> None:
    for option in ("dropout=0.5", "recurrent_dropout=0.5"):
        model, day = make("sfm", option), make_day(5)
        assert torch.equal(model(day), model(day))
        model.train()
        assert not torch.equal(model(day), model(day))
    assert not torch.equal(make("sfm", "modulus=true")(day), make("sfm")(day))


def test_hist_by_loops(make_day: MakeDay) -> None:
    """Known concepts by weight, hidden concepts of two neighbours, pair by pair."""
    model, day = make("hist", "weighted=true", "neighbours=2"), make_day(5)
    concepts = 3 * day.concepts * torch.rand(5, 3)
    concepts[:, 1], concepts[2] = 0, 0  # a concept without stocks, a stock without concepts
    day = day._replace(concepts=concepts)
    x = model.encoder(day.features)[:, -1]

    def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a @ b / (a.norm() * b.norm() + 1e-6)

    def share(part: torch.nn.Module, found: list[torch.Tensor]) -> list[torch.Tensor]:
        infos = []
        for stock in x:
            weights = torch.stack([cosine(stock, e) for e in found]).softmax(dim=0)
            infos.append(part.info(sum(w * e for w, e in zip(weights, found, strict=True))))
        return infos

    known = [
        sum(concepts[n, k] * x[n] for n in range(5)) / (concepts[:, k].sum() + 1) for k in (0, 2)
    ]
    infos = share(model.known, known)
    total = torch.stack([torch.nn.functional.leaky_relu(model.known.score(i)) for i in infos])
    x = x - torch.stack([model.known.explain(i) for i in infos])
    joined: dict[int, list[torch.Tensor]] = {}
    for n in range(5):
        others = sorted((k for k in range(5) if k != n), key=lambda k: -float(cosine(x[n], x[k])))
        for k in others[:2]:
            if cosine(x[n], x[k]) > 0:
                joined.setdefault(k, []).append(cosine(x[n], x[k]) * x[n])
    hidden = [sum(rows) + cosine(x[k], x[k]) * x[k] for k, rows in joined.items()]
    infos = share(model.hidden, hidden)
    total = total + torch.stack(
        [torch.nn.functional.leaky_relu(model.hidden.score(i)) for i in infos]
    )
    x = x - torch.stack([model.hidden.explain(i) for i in infos])
    total = total + torch.nn.functional.leaky_relu(model.own(x))
    torch.testing.assert_close(model(day), model.head(total)[:, 0])


def test_hist_joins_no_opposite() -> None:
    """Two stocks that point in opposite directions share nothing; a third shares with one."""
    model = make("hist", "neighbours=3")
    x = torch.zeros(3, 8)
    x[:, 0] = torch.tensor([1.0, -2.0, 3.0])
    concepts, used = model._gather_hidden(x[:2], model._similar(x[:2]))
    assert not used.any()
    assert not concepts.any()
    concepts, used = model._gather_hidden(x, model._similar(x))
    assert used.tolist() == [True, False, True]
    torch.testing.assert_close(concepts[:, 0], torch.tensor([4.0, 0.0, 4.0]))  # 1 and 3 in both


def test_hist_scores_without_members_and_needs_concepts(make_day: MakeDay) -> None:
    model, day = make("hist"), make_day(4)
    assert model(day._replace(concepts=torch.zeros(4, 3))).isfinite().all()
    with pytest.raises(InputError, match=r"the model needs concepts: set data.concepts=FILE"):
        model(day._replace(concepts=torch.empty(4, 0)))
    with pytest.raises(Exception, match=r"neighbours must be at least 1, got 0"):
        make("hist", "neighbours=0")


def test_hist_reads_its_own_concepts_alone(make_day: MakeDay) -> None:
    model, day = make("hist", "own_concepts=true"), make_day(4)
    concepts = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]])
    day = day._replace(concepts=concepts)
    weights = model.inside(day)["known_concepts"].tensor
    assert torch.equal(weights > 0, concepts > 0)
    torch.testing.assert_close(weights.sum(dim=1), torch.tensor([1.0, 1, 1, 0]))
    assert model(day).isfinite().all()


def past(make_day: MakeDay, n_days: int = 12) -> list[DayBatch]:
    """Days of as many stocks each."""
    return [make_day(5, seed=i)._replace(date=torch.tensor(i)) for i in range(n_days)]


def test_igmtf_does_not_look_at_days_left_out(make_day: MakeDay) -> None:
    days = past(make_day)
    for option, left_out in (("exclude_self", [6]), ("causal_memory", range(6, 12))):
        model = make("igmtf", f"{option}=true", "k_day=11", "n_neighbor=10")
        model.build_memory(days)
        scores = model(days[6])
        for i in left_out:
            model._memory.rows[5 * i : 5 * i + 5] += 1.0
        assert torch.equal(model(days[6]), scores)
        model._memory.rows[:5] += 1.0
        assert not torch.equal(model(days[6]), scores)


def test_igmtf_scores_before_the_first_train_day(make_day: MakeDay) -> None:
    model = make("igmtf", "causal_memory=true")
    model.build_memory(past(make_day))
    assert model(past(make_day)[0]).isfinite().all()


def test_igmtf_refuses_a_memory_that_is_too_small(make_day: MakeDay) -> None:
    with pytest.raises(InputError, match="IGMTF has no memory"):
        make("igmtf")(make_day(3))
    with pytest.raises(InputError, match="k_day=10, but the memory has 9 training days"):
        make("igmtf").build_memory(past(make_day, 9))
    with pytest.raises(InputError, match="k_day=10, but the memory has 9 training days"):
        make("igmtf", "exclude_self=true").build_memory(past(make_day, 10))
    with pytest.raises(InputError, match="n_neighbor=99, but the memory has 50 rows"):
        make("igmtf", "n_neighbor=99").build_memory(past(make_day, 10))


def test_igmtf_makes_its_memory_when_the_weights_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fit(small_config("model=igmtf", "model.hidden_size=4", f"folder={tmp_path}"))
    made = []
    keep = IGMTF._keep
    monkeypatch.setattr(IGMTF, "_keep", lambda *given: made.append(1) or keep(*given))
    run.trainer.validate(run.model, run.data, verbose=False)
    assert not made  # it is that of the last epoch
    with torch.no_grad():
        run.model.query.weight.mul_(-1)
        run.model.layers[0].weight.mul_(2)
    run.trainer.test(run.model, run.data, verbose=False)
    assert len(made) == 1
    fresh = copy.deepcopy(run.model).eval()
    fresh.build_memory(run.data.train_days())
    assert torch.equal(fresh(run.day), run.model.eval()(run.day))


def revised(config: DictConfig) -> Market:
    """One price of one train day is another."""
    market = instantiate(config.data.market)()
    close = market.field("close").clone()
    close[50, 4] *= 1.5
    return replace(market, fields={**market.fields, "close": close})


OTHER_DATA = {
    "train days, as many": ["data.train=['2015-02-02', '2015-04-16']"],
    "scaler": ["scaler=zscore"],
    "statistics": ["scaler.max_rows=1"],
    "features": ["features.columns=[open,close,high,low,vwap,volume]"],
    "a price": [],
}


@pytest.mark.thorough
def test_igmtf_makes_its_memory_anew_for_other_train_days_scaler_or_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config("model=igmtf", "model.hidden_size=4", f"folder={tmp_path}")
    run = fit(config)
    made = []
    keep = IGMTF._keep
    monkeypatch.setattr(IGMTF, "_keep", lambda *given: made.append(1) or keep(*given))
    for what, overrides in OTHER_DATA.items():
        other = small_config(*overrides, "data.valid=['2015-04-17', '2015-05-15']")
        data = make_data(other, None if overrides else revised(other))
        for _ in range(2):  # the second time nothing has changed
            instantiate(config.trainer).validate(run.model, data, verbose=False)
        assert len(made) == 1, what
        fresh = copy.deepcopy(run.model).eval()
        fresh.build_memory(data.train_days())
        assert torch.equal(fresh._memory.rows, run.model._memory.rows), what
        made.clear()
    data.scaler.load_state_dict(run.data.scaler.state_dict())
    instantiate(config.trainer).validate(run.model, data, verbose=False)
    assert len(made) == 1
