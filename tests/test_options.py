"""Options of single models: what each one changes, by what it must and must not do."""

import math

import pytest
import torch
from conftest import MakeDay

from alphazoo.config import compose, instantiate
from alphazoo.data.days import DayBatch
from alphazoo.errors import InputError
from alphazoo.models.base import StockModel
from alphazoo.models.transformer import position_code


def make(name: str, *options: str) -> StockModel:
    torch.manual_seed(0)
    config = compose(f"model={name}", "model.hidden_size=8", *(f"model.{o}" for o in options))
    return instantiate(config.model).eval()


def test_alstm_weights_of_days_sum_to_one(make_day: MakeDay) -> None:
    weights = make("alstm", "cell=lstm").time_weights(make_day(7))
    assert weights.shape == (7, 20)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(7))


def test_an_unknown_cell_is_named() -> None:
    with pytest.raises(Exception, match="unknown cell 'grru'; did you mean 'gru'"):
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
            torch.testing.assert_close(model.attention_weights(day)[head, i], weights)
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
    with pytest.raises(Exception, match="aggregate is 'hidden' or 'transformed', got 'all'"):
        make("gats", "aggregate=all")


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
    with pytest.raises(Exception, match="pooling is 'last' or 'mean', got 'max'"):
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
