"""Scores of every network from its equations, written out with plain layers of torch.

Weights come under Qlib's names, so that what reads them is tested, too; GATs and HIST are in
`test_options`, the recurrent cells in `test_recurrence`.
"""

import math

import pytest
import torch
from conftest import MakeDay
from torch import Tensor, nn
from torch.nn import functional as F

from alphazoo.config import compose, instantiate
from alphazoo.data.days import DayBatch
from alphazoo.models.base import StockModel
from alphazoo.qlib import load_weights

N_FEATURES, SIZE, LAYERS, HEADS, WIDE = 6, 8, 2, 2, 12


def make(name: str, *options: str) -> StockModel:
    torch.manual_seed(1)
    wanted = {
        "hidden_size": SIZE,
        "num_layers": LAYERS,
        "heads": HEADS,
        "feedforward_size": WIDE,
        "n_features": N_FEATURES,
    }
    known = compose(f"model={name}").model
    sizes = [f"model.{key}={value}" for key, value in wanted.items() if key in known]
    more = [f"model.{option}" for option in options]
    return instantiate(compose(f"model={name}", *sizes, *more).model).eval()


class Recurrent(nn.Module):
    def __init__(self, cell: str) -> None:
        super().__init__()
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        self.rnn = kind(N_FEATURES, SIZE, LAYERS, batch_first=True)
        self.fc_out = nn.Linear(SIZE, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc_out(self.rnn(x)[0][:, -1])


class Attentive(nn.Module):
    """ALSTM: of the states h_1 to h_T, [h_T, sum a_t h_t] with a the softmax over days."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.ModuleDict({"fc_in": nn.Linear(N_FEATURES, SIZE)})
        self.rnn = nn.GRU(SIZE, SIZE, LAYERS, batch_first=True)
        layers = {
            "att_fc_in": nn.Linear(SIZE, SIZE // 2),
            "att_fc_out": nn.Linear(SIZE // 2, 1, bias=False),
        }
        self.att_net = nn.ModuleDict(layers)
        self.fc_out = nn.Linear(2 * SIZE, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.rnn(self.net["fc_in"](x).tanh())[0]
        a = self.att_net["att_fc_out"](self.att_net["att_fc_in"](h).tanh()).softmax(dim=1)
        return self.fc_out(torch.cat([h[:, -1], (a * h).sum(dim=1)], dim=1))


def with_positions(x: Tensor) -> Tensor:
    x = x.clone()
    for day in range(x.shape[1]):
        for k in range(0, SIZE, 2):
            angle = day / 10000 ** (k / SIZE)
            x[:, day, k] += math.sin(angle)
            x[:, day, k + 1] += math.cos(angle)
    return x


class Encoding(nn.Module):
    """Transformer, and Localformer with its convolutions and its GRU."""

    def __init__(self, local: bool) -> None:
        super().__init__()
        self.feature_layer = nn.Linear(N_FEATURES, SIZE)
        layers = [
            nn.TransformerEncoderLayer(SIZE, HEADS, WIDE, dropout=0.0, batch_first=True)
            for _ in range(LAYERS)
        ]
        self.transformer_encoder = nn.ModuleDict({"layers": nn.ModuleList(layers)})
        if local:
            convolutions = [nn.Conv1d(SIZE, SIZE, 3, padding=1) for _ in range(LAYERS)]
            self.transformer_encoder["conv"] = nn.ModuleList(convolutions)
            self.rnn = nn.GRU(SIZE, SIZE, LAYERS, batch_first=True)
        self.decoder_layer = nn.Linear(SIZE, 1)
        self.local = local

    def forward(self, x: Tensor) -> Tensor:
        x = with_positions(self.feature_layer(x))
        for number, layer in enumerate(self.transformer_encoder["layers"]):
            if self.local:
                near = self.transformer_encoder["conv"][number](x.transpose(1, 2)).transpose(1, 2)
                x = layer(x + near)
            else:
                x = layer(x)
        if self.local:
            x = self.rnn(x + near)[0]
        return self.decoder_layer(x[:, -1])


class Convolution(nn.Module):
    """A convolution that looks back, with weight norm: w = g v / |v|, one g per output."""

    def __init__(self, n_inputs: int, dilation: int) -> None:
        super().__init__()
        self.weight_v = nn.Parameter(torch.randn(SIZE, n_inputs, 3))
        self.weight_g = nn.Parameter(torch.rand(SIZE, 1, 1) + 0.5)
        self.bias = nn.Parameter(torch.randn(SIZE))
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        norm = self.weight_v.square().sum(dim=(1, 2), keepdim=True).sqrt()
        weight = self.weight_g * self.weight_v / norm
        before = F.pad(x, (2 * self.dilation, 0))
        return F.conv1d(before, weight, self.bias, dilation=self.dilation)


class Dilated(nn.Module):
    """TCN: blocks of dilation 1, 2 of two convolutions over all days, each with a skip."""

    def __init__(self) -> None:
        super().__init__()
        blocks = []
        for number in range(LAYERS):
            n_inputs = SIZE if number else N_FEATURES
            block = {
                "conv1": Convolution(n_inputs, 2**number),
                "conv2": Convolution(SIZE, 2**number),
            }
            if not number:
                block["downsample"] = nn.Conv1d(n_inputs, SIZE, 1)
            blocks.append(nn.ModuleDict(block))
        self.tcn = nn.ModuleDict({"network": nn.ModuleList(blocks)})
        self.linear = nn.Linear(SIZE, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        for block in self.tcn["network"]:
            out = block["conv2"](block["conv1"](x).relu()).relu()
            x = (out + (block["downsample"](x) if "downsample" in block else x)).relu()
        return self.linear(x[..., -1])


class Frequencies(nn.Module):
    """SFM, day by day and frequency by frequency, with complex numbers."""

    def __init__(self, n_frequencies: int, n_outputs: int) -> None:
        super().__init__()
        for gate in ("i", "ste", "o", "fre", "c"):
            width = n_frequencies if gate == "fre" else SIZE
            self.register_parameter(f"W_{gate}", nn.Parameter(torch.randn(N_FEATURES, width)))
            self.register_parameter(f"U_{gate}", nn.Parameter(torch.randn(SIZE, width)))
            self.register_parameter(f"b_{gate}", nn.Parameter(torch.randn(width)))
        self.U_a = nn.Parameter(torch.randn(n_frequencies, 1))
        self.b_a = nn.Parameter(torch.randn(SIZE))
        self.W_p = nn.Parameter(torch.randn(SIZE, n_outputs))
        self.b_p = nn.Parameter(torch.randn(n_outputs))
        self.fc_out = nn.Linear(n_outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        n_frequencies = len(self.U_a)
        h = torch.zeros(len(x), SIZE)
        memory = torch.zeros(len(x), SIZE, n_frequencies, dtype=torch.complex64)
        for day in range(x.shape[1]):
            gates = {
                name: x[:, day] @ getattr(self, f"W_{name}")
                + h @ getattr(self, f"U_{name}")
                + getattr(self, f"b_{name}")
                for name in ("i", "ste", "o", "fre", "c")
            }
            i, ste, o, fre = (
                (gates[name] / 6 + 0.5).clamp(0, 1) for name in ("i", "ste", "o", "fre")
            )
            k = torch.arange(n_frequencies)
            wave = torch.exp(2j * math.pi * k * (day + 1) / n_frequencies)
            decay = ste[:, :, None] * fre[:, None, :]
            memory = decay * memory + (i * gates["c"].tanh())[:, :, None] * wave
            h = o * ((memory.abs() ** 2 @ self.U_a)[..., 0] + self.b_a).tanh()
        return self.fc_out(h @ self.W_p + self.b_p)


@pytest.mark.parametrize(
    ("name", "options", "reference"),
    [
        ("lstm", [], lambda: Recurrent("lstm")),
        ("gru", [], lambda: Recurrent("gru")),
        ("alstm", ["cell=gru"], Attentive),
        ("transformer", [], lambda: Encoding(local=False)),
        ("localformer", [], lambda: Encoding(local=True)),
        ("tcn", ["kernel_size=3"], Dilated),
        ("sfm", ["n_frequencies=5", "output_size=3"], lambda: Frequencies(5, 3)),
    ],
)
def test_scores_are_those_of_the_equations(
    name: str, options: list[str], reference: type[nn.Module], make_day: MakeDay
) -> None:
    model, day = make(name, *options), make_day(5, window=12)
    torch.manual_seed(2)
    plain = reference().eval()
    load_weights(model, plain.state_dict())
    with torch.no_grad():
        scores = model(day)
        torch.testing.assert_close(scores, plain(day.features)[:, 0], rtol=1e-4, atol=1e-5)
    assert scores.std() > 1e-3


def test_linear_and_mlp_are_those_of_the_equations(make_day: MakeDay) -> None:
    day = make_day(5, window=12)
    rows = day.features.reshape(5, -1)
    linear = make("linear", "window=12")
    expected = rows @ linear.head.weight[0] + linear.head.bias
    torch.testing.assert_close(linear(day), expected)
    mlp = make("mlp", "window=12")
    for block in mlp.layers:
        rows = block[0](rows)
        rows = rows * rows.sigmoid()
    torch.testing.assert_close(mlp(day), mlp.head(rows)[:, 0])
    assert len(mlp.layers) == LAYERS


@pytest.mark.parametrize("exclude_self", [False, True])
@torch.no_grad()
def test_igmtf_by_loops(exclude_self: bool, make_day: MakeDay) -> None:
    """Days by the cosine of their means; their rows by that of the projections."""
    options = ["k_day=3", "n_neighbor=4", f"exclude_self={exclude_self}".lower()]
    model = make("igmtf", *options)
    days = [make_day(2 + i % 3, seed=i)._replace(date=torch.tensor(i)) for i in range(7)]
    model.remember(days)
    today = days[4]

    def states(day: DayBatch) -> Tensor:
        return model.layers(model.encoder(day.features)[:, -1])

    def cosine(a: Tensor, b: Tensor) -> Tensor:
        return a @ b / (a.norm() * b.norm() + 1e-6)

    g = states(today)
    past = [i for i in range(7) if not (exclude_self and i == 4)]
    likeness = {i: float(cosine(g.mean(dim=0), states(days[i]).mean(dim=0))) for i in past}
    nearest = sorted(past, key=lambda i: -likeness[i])[:3]
    rows = torch.cat([model.layers(states(days[i])) for i in nearest])
    expected = []
    for stock in g:
        query = model.query(stock)
        keys = sorted((model.key(row) for row in rows), key=lambda k: -float(cosine(query, k)))
        learned = sum(cosine(query, key) * key for key in keys[:4]) / 4
        expected.append(model.head(torch.cat([stock, learned])))
    torch.testing.assert_close(model(today), torch.cat(expected))
