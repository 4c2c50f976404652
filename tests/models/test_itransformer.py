"""iTransformer: its scores from torch's own encoder, with the stocks as tokens."""

import pytest
import torch
from conftest import MakeDay
from torch import nn

from alphazoo.config import compose, instantiate
from alphazoo.errors import InputError
from alphazoo.models.itransformer import ITransformer


def make(*options: str) -> ITransformer:
    torch.manual_seed(0)
    sizes = ["model.hidden_size=8", "model.feedforward_size=12", "model.window=5"]
    config = compose("model=itransformer", *sizes, *(f"model.{o}" for o in options))
    model = instantiate(config.model)
    assert isinstance(model, ITransformer)
    return model.eval()


@torch.no_grad()
def test_the_equations_with_layers_of_torch(make_day: MakeDay) -> None:
    model, day = make("heads=2"), make_day(7, window=5)
    tokens = torch.stack([model.input(x.reshape(-1)) for x in day.features])
    for layer in model.layers:
        plain = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True).eval()
        attention = plain.self_attn
        attention.in_proj_weight.copy_(layer.projections.weight)
        attention.in_proj_bias.copy_(layer.projections.bias)
        attention.out_proj.load_state_dict(layer.output.state_dict())
        plain.linear1.load_state_dict(layer.feedforward[0].state_dict())
        plain.linear2.load_state_dict(layer.feedforward[3].state_dict())
        tokens = plain(tokens.unsqueeze(0))[0]
    mean, variance = tokens.mean(1, keepdim=True), tokens.var(1, correction=0, keepdim=True)
    expected = model.head((tokens - mean) / (variance + 1e-5).sqrt())[:, 0]
    torch.testing.assert_close(model(day), expected, rtol=1e-5, atol=1e-5)


def test_a_stock_sees_the_others(make_day: MakeDay) -> None:
    model, day = make(), make_day(7, window=5)
    features = day.features.clone()
    features[3] += 1
    assert (model(day._replace(features=features)) != model(day)).all()


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(InputError, match="must be even and divisible by heads, got 8, 3"):
        make("heads=3")
