"""The same weights give the same scores as in Qlib. Needs the extra ``parity``."""

import copy
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeDay
from torch import nn

from alphazoo.config import compose, instantiate
from alphazoo.data.days import DayBatch
from alphazoo.errors import InputError
from alphazoo.models.base import StockModel
from alphazoo.qlib import import_weights, load_weights

pytest.importorskip("qlib", reason="compares with pyqlib: pip install 'alphazoo[parity]'")

RECURRENT = {"hidden_size": 64, "num_layers": 2}
PARALLEL = {
    "cnn_kernel_size": 3,
    "rnn_dups": 2,
    "rnn_layers": 2,
    "dropout": 0.0,
    "device": "cpu",
}
ATTENTIVE = {"d_model": 64, "nhead": 2, "num_layers": 2, "dropout": 0.0}

# file, class, arguments beside the number of features; by name of the model and its cell
REFERENCES: dict[tuple[str, str], tuple[str, str, dict[str, Any]]] = {
    ("lstm", ""): ("lstm", "LSTMModel", RECURRENT),
    ("gru", ""): ("gru", "GRUModel", RECURRENT),
    ("alstm", "gru"): ("alstm", "ALSTMModel", {**RECURRENT, "rnn_type": "GRU"}),
    ("alstm", "lstm"): ("alstm", "ALSTMModel", {**RECURRENT, "rnn_type": "LSTM"}),
    ("transformer", ""): ("transformer", "Transformer", ATTENTIVE),
    ("localformer", ""): ("localformer", "Transformer", ATTENTIVE),
    ("tcn", ""): (
        "tcn",
        "TCNModel",
        {"output_size": 1, "num_channels": [128] * 5, "kernel_size": 3, "dropout": 0.5},
    ),
    ("gats", "gru"): ("gats", "GATModel", {**RECURRENT, "base_model": "GRU"}),
    ("gats", "lstm"): ("gats", "GATModel", {**RECURRENT, "base_model": "LSTM"}),
    ("sfm", ""): ("sfm", "SFM_Model", {"hidden_size": 64, "freq_dim": 25, "output_dim": 32}),
    ("hist", "gru"): ("hist", "HISTModel", {**RECURRENT, "base_model": "GRU"}),
    ("hist", "lstm"): ("hist", "HISTModel", {**RECURRENT, "base_model": "LSTM"}),
    ("igmtf", "gru"): ("igmtf", "IGMTFModel", {**RECURRENT, "base_model": "GRU"}),
    ("igmtf", "lstm"): ("igmtf", "IGMTFModel", {**RECURRENT, "base_model": "LSTM"}),
    ("krnn", ""): ("krnn", "KRNNModel", {**PARALLEL, "cnn_dim": 8, "rnn_dim": 8}),
    ("sandwich", ""): (
        "sandwich",
        "SandwichModel",
        {**PARALLEL, "cnn_dim_1": 16, "rnn_dim_1": 8, "cnn_dim_2": 16, "rnn_dim_2": 8},
    ),
}
PARAMETERS = {  # live ones, with 6 features; GATs, HIST and IGMTF on a GRU
    "lstm": 51_777,
    "gru": 38_849,
    "alstm": 52_609,
    "transformer": 562_817,
    "localformer": 637_441,
    "tcn": 448_257,
    "gats": 47_297,
    "sfm": 22_153,
    "hist": 67_969,
    "igmtf": 55_425,
    "krnn": 1_889,
    "sandwich": 4_937,
}
PAIRS = list(REFERENCES)


def make_pair(name: str, cell: str, n_features: int = 6) -> tuple[nn.Module, StockModel]:
    """Qlib's network and ours with its weights."""
    torch.manual_seed(0)
    file, kind, arguments = REFERENCES[name, cell]
    size = {"tcn": "num_input", "krnn": "fea_dim", "sandwich": "fea_dim"}.get(name, "d_feat")
    network = getattr(import_module(f"qlib.contrib.model.pytorch_{file}"), kind)
    reference = network(**{size: n_features}, **arguments).eval()
    choice = [f"model.cell={cell}"] if cell else []
    model = instantiate(compose(f"model={name}", f"model.n_features={n_features}", *choice).model)
    load_weights(model, reference.state_dict())
    return reference, model.eval()


def score(name: str, reference: nn.Module, day: DayBatch, past: list[DayBatch]) -> torch.Tensor:
    """Scores of Qlib's network; that of HIST has to believe that a CPU is a device."""
    features = flatten(day)
    if name == "hist":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "get_device", lambda tensor: "cpu")
            return reference(features, day.concepts)
    if name == "igmtf":
        states = [reference(flatten(past_day), get_hidden=True) for past_day in past]
        return reference(
            features,
            train_hidden=np.asarray(states, dtype=object),
            train_hidden_day=torch.stack([state.mean(dim=0) for state in states]),
        )
    if name in ("krnn", "sandwich"):  # they expect rows day by day, although Qlib's are not
        return reference(day.features.flatten(1))
    return reference(features)


def flatten(day: DayBatch) -> torch.Tensor:
    return day.features.transpose(1, 2).flatten(1)  # its rows are field by field


@pytest.mark.parametrize(("name", "cell"), PAIRS)
@pytest.mark.parametrize(("n_stocks", "window", "n_features"), [
    (1, 60, 6), (2, 60, 6), (37, 60, 6), (300, 60, 6), (37, 20, 20), (5, 7, 3), (5, 1, 3),
])  # fmt: skip
def test_scores_equal_those_of_the_reference(
    name: str, cell: str, n_stocks: int, window: int, n_features: int, make_day: MakeDay
) -> None:
    reference, model = make_pair(name, cell, n_features)
    day = make_day(n_stocks, window, n_features)
    concepts = day.concepts.clone()
    concepts[:, 0], concepts[0] = 0, 0  # a concept without stocks, a stock without concepts
    day = day._replace(concepts=concepts)
    past = [make_day(3 + i, window, n_features, seed=1 + i) for i in range(12)]
    model.build_memory(past)
    with torch.no_grad():
        expected = score(name, reference, day, past).reshape(-1)
        torch.testing.assert_close(model(day), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_those_of_the_reference_that_live(name: str) -> None:
    cell = "gru" if (name, "gru") in REFERENCES else ""
    _, model = make_pair(name, cell)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize(("name", "cell"), PAIRS)
def test_weights_must_fit_exactly(name: str, cell: str) -> None:
    reference, model = make_pair(name, cell)
    state = reference.state_dict()
    used = next(key for key in state if key.endswith(("weight_ih_l0", "weight")))
    with pytest.raises(InputError, match="missing .*; unknown none"):
        load_weights(model, {key: value for key, value in state.items() if key != used})
    with pytest.raises(InputError, match="missing none; unknown more"):
        load_weights(model, {**state, "more": torch.zeros(1)})
    with pytest.raises(InputError, match=r"is \[1\], expected"):
        load_weights(copy.deepcopy(model), {**state, used: torch.zeros(1)})


class TwoNetworks(nn.Module):
    """Qlib's encoder and router, which its model keeps side by side."""

    def __init__(self, n_features: int, cell: str) -> None:
        super().__init__()
        tra = import_module("qlib.contrib.model.pytorch_tra")
        self.model = tra.RNN(n_features, 64, 2, rnn_arch=cell.upper())
        sizes = {"num_states": 3, "hidden_size": 32, "rnn_arch": "LSTM"}
        self.tra = tra.TRA(self.model.output_size, **sizes, src_info="LR_TPE")

    def forward(self, features: torch.Tensor, past: torch.Tensor) -> tuple[torch.Tensor, ...]:
        predictions, choice, probabilities = self.tra(self.model(features), past)
        return predictions, choice, probabilities


def make_tra(n_features: int, cell: str, *options: str) -> tuple[TwoNetworks, StockModel]:
    torch.manual_seed(0)
    reference = TwoNetworks(n_features, cell).eval()
    sizes = [f"model.n_features={n_features}", f"model.cell={cell}"]
    model = instantiate(compose("model=tra", *sizes, *options).model)
    load_weights(model, reference.state_dict())
    return reference, model.eval()


def with_memory(day: DayBatch) -> DayBatch:
    random = torch.Generator().manual_seed(1)
    return day._replace(memory=torch.rand(len(day.stocks), 58, 3, generator=random))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(("n_stocks", "n_features"), [(1, 6), (2, 6), (300, 6), (37, 158)])
@torch.no_grad()
def test_tra_chooses_and_scores_like_the_reference(
    cell: str, n_stocks: int, n_features: int, make_day: MakeDay
) -> None:
    reference, model = make_tra(n_features, cell)
    day = with_memory(make_day(n_stocks, 60, n_features))
    predictions, _, probabilities = reference(day.features, day.memory)
    torch.testing.assert_close(model.inside(day)["routes"].tensor, probabilities)
    expected = predictions[torch.arange(n_stocks), probabilities.argmax(dim=1)]
    torch.testing.assert_close(model(day), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("oracle", [False, True])
def test_tra_learns_from_the_loss_of_the_reference(oracle: bool, make_day: MakeDay) -> None:
    """By value and by gradient, with the same noise."""
    tra = import_module("qlib.contrib.model.pytorch_tra")
    options = [f"model.pretrain_epochs={int(oracle)}", "model.router_weight=0.7"]
    reference, model = make_tra(6, "lstm", *options)
    reference.train(), model.train()
    day = with_memory(make_day(40, 60, 6))
    torch.manual_seed(3)
    predictions, choice, probabilities = reference(day.features, day.memory)
    history, rule = day.memory.mean(dim=1), "oracle" if oracle else "router"
    fit, _, losses, shares = tra.transport_sample(
        predictions, day.labels, choice, probabilities, history, [], rule, 0.5, training=True
    )
    weight = 0.0 if oracle else 0.7
    expected = fit - weight * probabilities.log().mul(shares).sum(dim=1).mean()
    expected.backward()
    torch.manual_seed(3)
    loss = model.loss(day)
    loss.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(model._losses(day), losses)
    pairs = [
        (model.encoder.rnn.weight_ih_l0, reference.model.rnn.weight_ih_l0),
        (model.attention[2].weight, reference.model.u.weight),
        (model.predictors.weight, reference.tra.predictors.weight),
        (model.router.weight_hh_l0, reference.tra.router.weight_hh_l0),
        (model.choice.bias, reference.tra.fc.bias),
    ]
    for ours, theirs in pairs[: 3 if oracle else 5]:
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_tra_leaves_stocks_without_a_label_out_of_the_transport(make_day: MakeDay) -> None:
    """Qlib's data drop them before; they would otherwise take part at equal losses."""
    tra = import_module("qlib.contrib.model.pytorch_tra")
    reference, model = make_tra(6, "lstm")
    day = with_memory(make_day(40, 60, 6))
    known = torch.arange(40) % 7 != 3
    predictions, choice, probabilities = reference(day.features[known], day.memory[known])
    history = day.memory[known].mean(dim=1)
    fit, _, _, shares = tra.transport_sample(
        predictions, day.labels[known], choice, probabilities, history, [], "router", 0.5
    )
    expected = fit - probabilities.log().mul(shares).sum(dim=1).mean()
    holes = day._replace(labels=day.labels.where(known, torch.nan))
    torch.testing.assert_close(model.loss(holes), expected)


def test_what_qlib_saved_of_tra_becomes_a_checkpoint(tmp_path: Path) -> None:
    reference, model = make_tra(6, "lstm")
    saved = {"model": reference.model.state_dict(), "tra": reference.tra.state_dict()}
    torch.save(saved, tmp_path / "model.bin")
    fresh = instantiate(compose("model=tra").model)
    import_weights(tmp_path / "model.bin", fresh, tmp_path / "tra.ckpt")
    loaded = type(model).load_from_checkpoint(tmp_path / "tra.ckpt", weights_only=True)
    assert torch.equal(loaded.choice.weight, model.choice.weight)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize(("n_stocks", "n_features", "epoch"), [(37, 6, 0), (300, 20, 1), (9, 6, 9)])
@pytest.mark.thorough
def test_add_scores_and_learns_like_the_reference(
    cell: str,
    n_stocks: int,
    n_features: int,
    epoch: int,
    make_day: MakeDay,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By score, loss, gradient and running statistics, with the reversal of an epoch.

    Qlib's reversal starts from 0 again when a model is loaded, because it is not in its state.
    """
    torch.manual_seed(0)
    add = import_module("qlib.contrib.model.pytorch_add")
    sizes = {"hidden_size": 64, "num_layers": 2, "dropout": 0.0, "dec_dropout": 0.0}
    whole = add.ADD(
        d_feat=n_features, **sizes, base_model=cell.upper(), gamma_clip=0.2, mu=0.2, GPU=-1
    )
    reference = whole.ADD_model
    for _ in range(epoch):
        reference.before_adv_excess.step_alpha()
        reference.before_adv_market.step_alpha()
    options = [f"model.n_features={n_features}", f"model.cell={cell}", "model.dropout=0"]
    model = instantiate(compose("model=add", *options).model)
    load_weights(model, reference.state_dict())
    monkeypatch.setattr(type(model), "current_epoch", epoch)
    model.build_memory([make_day(5, seed=seed) for seed in range(6)])
    day = make_day(n_stocks, 60, n_features)
    target = model.market_class(day).expand(n_stocks)
    reference.train(), model.train()
    found = reference(flatten(day))
    expected = whole.loss_fn(flatten(day), found, day.labels, target)
    expected.backward()
    loss = model.loss(day)
    loss.backward()
    torch.testing.assert_close(loss, expected)
    pairs = [
        (model.encoder.rnn, reference.enc_excess),
        (model.market_encoder.rnn, reference.enc_market),
        (model.decoder.rnn, reference.dec.rnn),
    ]
    for ours, theirs in pairs:
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-5)
    norm = reference.pred_excess[1]
    torch.testing.assert_close(model.head.norm.running_mean, norm.running_mean)
    torch.testing.assert_close(model.head.norm.running_var, norm.running_var)
    reference.eval(), model.eval()
    with torch.no_grad():
        scores = reference(flatten(day))["excess"]
        torch.testing.assert_close(model(day), scores, rtol=1e-5, atol=1e-5)
        expected = whole.loss_fn(flatten(day), reference(flatten(day)), day.labels, target)
        torch.testing.assert_close(model.loss(day), expected)
