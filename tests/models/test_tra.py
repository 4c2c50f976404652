"""TRA: its equations by loops, a memory that knows no label too early, what the router chooses."""

import copy
import math
from dataclasses import replace
from pathlib import Path

import lightning as L
import pytest
import torch
from conftest import MakeDay, Run, fit, make_data, small_config
from torch import Tensor, nn
from torch.utils.data import DataLoader

from alphazoo.config import compose, instantiate
from alphazoo.data.days import DayBatch, DayPanels, Days
from alphazoo.errors import InputError
from alphazoo.models.checkpoint import read_checkpoint
from alphazoo.models.past_losses import PastLosses
from alphazoo.models.tra import TRA
from alphazoo.models.transport import scale, transport

SIZES = ["hidden_size=4", "router_size=5", "n_losses=7"]


def make(*options: str) -> TRA:
    torch.manual_seed(0)
    config = compose("model=tra", *(f"model.{o}" for o in (*SIZES, *options)))
    model = instantiate(config.model)
    assert isinstance(model, TRA)
    return model.eval()


def days_of(make_day: MakeDay, count: int = 12) -> list[DayBatch]:
    """Days of five stocks in turn: the others are absent."""
    return [
        make_day(5, seed=n)._replace(date=torch.tensor(n), stocks=torch.arange(5) + n % 3)
        for n in range(count)
    ]


def states_by_loops(model: TRA, x: Tensor) -> list[Tensor]:
    """Plain layers, one stock after the other."""
    rnn = model.encoder.rnn
    plain = nn.LSTM(rnn.input_size, rnn.hidden_size, rnn.num_layers)
    plain.load_state_dict(rnn.state_dict())
    states = []
    for window in x:
        outputs, (last, _) = plain(model.input(window))
        logits = [model.attention[2](model.attention[0](o).tanh()) for o in outputs]
        weights = torch.cat(logits).softmax(0)
        attended = sum(w * o for w, o in zip(weights, outputs, strict=True))
        states.append(torch.cat([(last[0] + last[1]) / 2, attended]))
    return states


def losses_by_loops(model: TRA, day: DayBatch) -> dict[int, list[float]]:
    found = {}
    for stock, h, y in zip(
        day.stocks, states_by_loops(model, day.features), day.labels, strict=True
    ):
        errors = [float((p - y) ** 2) for p in model.predictors(h)]
        low, high = min(errors), max(errors)
        found[int(stock)] = [(e - low) / (high - low) if y.isfinite() else 1.0 for e in errors]
    return found


@torch.no_grad()
def past_by_loops(model: TRA, past: list[DayBatch], stock: int, date: int) -> Tensor:
    """Seven days, the last of them two days ago."""
    rows = []
    for row in range(date - 8, date - 1):
        day = next((day for day in past if int(day.date) == row), None)
        known = losses_by_loops(model, day) if day else {}
        rows.append(known.get(stock, [0.0] * model.n_predictors))
    return torch.tensor(rows)


def logits_by_loops(model: TRA, h: Tensor, past: Tensor) -> Tensor:
    plain = nn.LSTM(past.shape[1], 5)
    plain.load_state_dict(model.router.state_dict())
    return model.choice(torch.cat([h, plain(past)[1][0][0]]))


@torch.no_grad()
def test_the_equations_by_loops(make_day: MakeDay) -> None:
    """The third stock of the day has no label, and neither has the first of an earlier one."""
    model, past = make("gumbel=false", "tau=0.5"), days_of(make_day)
    past[4].labels[0] = torch.nan
    model.build_memory(past)
    day = past[9]
    day.labels[2] = torch.nan
    states = states_by_loops(model, day.features)
    memory = [past_by_loops(model, past, int(s), 9) for s in day.stocks]
    torch.testing.assert_close(model.recall(day), torch.stack(memory))
    logits = [logits_by_loops(model, h, e) for h, e in zip(states, memory, strict=True)]
    predictions = [model.predictors(h) for h in states]
    scores = [p[a.argmax()] for p, a in zip(predictions, logits, strict=True)]
    torch.testing.assert_close(model(day), torch.stack(scores))

    known = [0, 1, 3, 4]
    cost = []
    for n in known:
        errors = (predictions[n] - day.labels[n]) ** 2
        mixed = 0.5 * scale(errors[None])[0] + 0.5 * scale(memory[n].mean(0)[None])[0]
        cost.append([float(x) for x in scale(mixed[None])[0]])
    shares = [[math.exp(-10 * x) for x in row] for row in cost]
    for _ in range(3):
        sums = [sum(row[k] for row in shares) for k in range(3)]
        shares = [[x / s for x, s in zip(row, sums, strict=True)] for row in shares]
        shares = [[x / sum(row) for x in row] for row in shares]
    likelihood = [
        sum(s * x for s, x in zip(row, (logits[n] / 0.5).log_softmax(0).tolist(), strict=True))
        for n, row in zip(known, shares, strict=True)
    ]
    fit_to_labels = sum(float((scores[n] - day.labels[n]) ** 2) for n in known) / 4
    expected = fit_to_labels - sum(likelihood) / 4
    assert float(model.loss(day)) == pytest.approx(expected, rel=1e-4)


def test_a_transport_by_hand() -> None:
    """Two stocks are best forecast by the first predictor, one by the second, one has no label.

    Costs are 0 and 1, so the transport starts from 1 and exp(-10).
    """
    errors = torch.tensor([[0.0, 1.0], [0.0, 2.0], [3.0, 1.0], [9.0, 9.0]])
    known = torch.tensor([True, True, True, False])
    shares = transport(errors, torch.zeros(4, 2), known, 1.0)
    rare = math.exp(-10)
    q = [[1.0, rare], [1.0, rare], [rare, 1.0]]
    for _ in range(3):
        q = [[row[k] / sum(other[k] for other in q) for k in (0, 1)] for row in q]
        q = [[x / sum(row) for x in row] for row in q]
    torch.testing.assert_close(shares, torch.tensor([*q, [0.0, 0.0]]))
    assert torch.equal(scale(torch.tensor([[2.0, 4.0, 3.0], [5.0, 5.0, 5.0]])), torch.tensor(
        [[0.0, 1.0, 0.5], [1.0, 1.0, 1.0]]
    ))  # fmt: skip


@torch.no_grad()
def test_one_predictor_is_the_encoder_with_a_linear_head(make_day: MakeDay) -> None:
    model, day = make("n_predictors=1"), make_day(4)
    expected = torch.cat([model.predictors(h) for h in states_by_loops(model, day.features)])
    torch.testing.assert_close(model(day), expected)
    torch.testing.assert_close(model.loss(day), (expected - day.labels).square().mean())
    assert model.shows == []


def with_labels(panels: DayPanels, first: int, last: int) -> DayPanels:
    """The same days with other labels from one row to another."""
    labels = panels.labels.clone()
    labels[first : last + 1] = -labels[first : last + 1] + 1
    return replace(panels, labels=labels, key="changed")


@torch.no_grad()
@pytest.mark.parametrize("sell", [2, 5])
def test_no_score_sees_a_label_that_is_not_known(tmp_path: Path, sell: int) -> None:
    """The label of day t - sell ends with the close of day t: those after it change nothing."""
    data = make_data(small_config("model=tra", f"label.sell={sell}", f"folder={tmp_path}"))
    days = data.days("test")
    model = make(f"delay={sell}")
    nn.init.normal_(model.router.weight_ih_l0)
    row = days.rows[3]
    day = days.panels.day(row)

    def look(panels: DayPanels) -> list[Tensor]:
        model.build_memory(Days(days.rows, panels))
        logits = model._route(model._encode(day.features), model.recall(day))
        return [model.recall(day), logits, model(day)]

    def same(first: int, last: int) -> list[bool]:
        changed = look(with_labels(days.panels, first, last))
        return [torch.equal(a, b) for a, b in zip(changed, known, strict=True)]

    known = look(days.panels)
    assert same(row - sell + 1, row) == [True] * 3
    assert same(row - sell + 1, len(days.panels.labels) - 1) == [True] * 3
    assert same(0, row - sell - 7) == [True] * 3  # older than the seven days
    assert same(row - sell, row - sell)[:2] == [False] * 2
    assert same(row - sell - 6, row - sell - 6)[:2] == [False] * 2


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = small_config(
        "model=tra",
        "trainer.max_epochs=1",
        *(f"model.{o}" for o in SIZES),
        f"folder={tmp_path_factory.mktemp('tra')}",
    )
    return fit(config)


def test_all_scores_of_a_run_are_those_of_a_fresh_memory(trained: Run) -> None:
    """Days between the segments are remembered, too, and the order of the days is no matter."""
    model, data = trained.model, trained.data
    trained.trainer.validate(model, data, verbose=False)
    table = model.scores("val").set_index(["date", "stock"])["score"]
    fresh = make(*(f"delay={d}" for d in (2,)))
    fresh.load_state_dict(model.state_dict())
    fresh.build_memory(data.days("train"))
    for day in reversed([*data.days("valid")]):
        with torch.no_grad():
            scores = fresh(day)
        own = [float(table[int(day.date), int(stock)]) for stock in day.stocks]
        assert scores.tolist() == own


def test_the_memory_is_computed_once_for_the_same_weights(
    trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled = []
    fill = PastLosses.fill

    def counted(self: PastLosses, *args: object, **kwargs: object) -> int:
        filled.append(fill(self, *args, **kwargs))  # type: ignore[arg-type]
        return filled[-1]

    monkeypatch.setattr(PastLosses, "fill", counted)
    config = trained.config.copy()
    config.trainer.max_epochs, config.folder = 2, config.folder + "-again"
    run = fit(config)
    n_train, n_valid = (len(run.data.segments[name]) for name in ("train", "valid"))
    several = [count for count in filled if count]
    # before each epoch the days of training, and before each validation those before its days
    assert len(several) == 4
    assert max(several) <= n_train + n_valid
    filled.clear()
    run.model(run.data.days("valid")[1])
    assert filled == [0]


def test_a_copy_has_its_own_memory_but_the_same_data(trained: Run) -> None:
    model = copy.deepcopy(trained.model)
    assert model._past._panels is trained.model._past._panels
    model._past.values.fill_(9)
    assert trained.model._past.values.max() <= 1


def test_parameters_are_those_of_the_reference() -> None:
    count = sum(p.numel() for p in instantiate(compose("model=tra").model).parameters())
    assert count == 55_936 + 5_606


def test_the_router_learns_after_the_first_epochs(make_day: MakeDay) -> None:
    past = days_of(make_day)
    for epochs, learns in ((0, True), (1, False)):
        model = make(f"pretrain_epochs={epochs}").train()
        model.build_memory(past)
        model.loss(past[9]).backward()
        assert (model.choice.weight.grad is not None) == learns
        assert (model.router.weight_hh_l0.grad is not None) == learns
        assert model.predictors.weight.grad is not None
        assert model.encoder.rnn.weight_hh_l0.grad is not None


@torch.no_grad()
def test_the_loss_of_pretraining_by_loops(make_day: MakeDay) -> None:
    model, past = make("pretrain_epochs=1"), days_of(make_day)
    model.build_memory(past)
    day = past[9]
    predictions = model.predictors(model._encode(day.features))
    errors = (predictions - day.labels.unsqueeze(1)).square()
    known = torch.ones(5, dtype=torch.bool)
    shares = transport(errors, model.recall(day).mean(dim=1), known, 0.5)
    expected = sum(float(s @ e) for s, e in zip(shares, errors, strict=True)) / 5
    assert float(model.loss(day)) == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
def test_the_weight_of_the_router_decays(
    make_day: MakeDay, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, past = make("router_decay=0.5"), days_of(make_day)
    model.build_memory(past)
    losses = []
    for step in (0, 99, 100, 10_000):
        monkeypatch.setattr(TRA, "global_step", step)
        losses.append(float(model.loss(past[9])))
    assert losses[0] == losses[1]
    assert losses[0] - losses[3] == pytest.approx(2 * (losses[2] - losses[3]), rel=1e-4)


def test_the_router_samples_in_training_only(make_day: MakeDay) -> None:
    logits = torch.tensor([[0.0, 1.0, 0.5]]).expand(3000, 3)
    model = make()
    assert torch.equal(model._choose(logits).sum(0), torch.tensor([0.0, 3000.0, 0.0]))
    model.train()
    shares = model._choose(logits).mean(0)
    torch.testing.assert_close(shares, logits[0].softmax(0), atol=0.03, rtol=0)
    model.gumbel = False
    assert torch.equal(model._choose(logits).sum(0), torch.tensor([0.0, 3000.0, 0.0]))


def test_the_predictor_that_is_shown_is_the_one_that_scores(make_day: MakeDay) -> None:
    model, past = make(), days_of(make_day)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(4)
    model.build_memory(past)
    day = past[9]
    routes = model.inside(day)["routes"].tensor
    torch.testing.assert_close(routes.sum(dim=1), torch.ones(5))
    with torch.no_grad():
        predictions = model.predictors(model._encode(day.features))
        assert torch.equal(model(day), predictions[torch.arange(5), routes.argmax(dim=1)])


def test_a_memory_from_outside_takes_the_place_of_its_own(make_day: MakeDay) -> None:
    model, past = make(), days_of(make_day)
    model.build_memory(past)
    day, known = past[9], model.recall(past[9])
    outside = make()
    with pytest.raises(InputError, match="TRA has no memory"):
        outside(day)
    with torch.no_grad():
        assert torch.equal(outside(day._replace(memory=known)), model(day))


def test_what_cannot_be_is_one_line(tmp_path: Path, make_day: MakeDay) -> None:
    with pytest.raises(InputError, match=r"model\.alpha must be from 0 to 1, got 1\.5"):
        make("alpha=1.5")
    early = small_config("model=tra", "model.delay=1", f"folder={tmp_path}")
    with pytest.raises(
        InputError, match=r"model\.delay=1, but a label is known after label\.sell=2"
    ):
        fit(early)
    trainer = L.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    loader = DataLoader([make_day(4)], batch_size=None)
    with pytest.raises(InputError, match="pass the Trainer a MarketDataModule, not a loader"):
        trainer.test(make(), loader)


def test_no_epoch_of_pretraining_is_the_best_or_uses_patience(tmp_path: Path) -> None:
    """The learning rate is 0, so that the first epoch that counts is the best."""
    short = ["model=tra", "model.hidden_size=4", "model.lr=0", "model.pretrain_epochs=3"]
    epochs = ["trainer.max_epochs=6", "patience=1", f"folder={tmp_path}"]
    run = fit(small_config(*short, *epochs))
    assert run.trainer.current_epoch == 5  # the fourth is the best, the fifth no better
    assert read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")["epoch"] == 3
