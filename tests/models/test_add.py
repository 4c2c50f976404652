"""ADD: its loss by plain layers, reversed gradients, the classes of the market, day norms."""

import copy
import math
from pathlib import Path

import lightning as L
import pytest
import torch
from conftest import MakeDay, fit, make_data, small_config
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from alphazoo.config import compose, instantiate
from alphazoo.data.days import DayBatch
from alphazoo.errors import InputError
from alphazoo.models.add import ADD, reverse
from alphazoo.models.day_norm import DayNorm


def make(*options: str) -> ADD:
    torch.manual_seed(0)
    config = compose("model=add", "model.hidden_size=3", *(f"model.{o}" for o in options))
    model = instantiate(config.model)
    assert isinstance(model, ADD)
    return model.eval()


def at_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    monkeypatch.setattr(ADD, "current_epoch", epoch)


def with_market(day: DayBatch, mean: float) -> DayBatch:
    return day._replace(returns=day.returns - day.returns.mean() + mean)


def plain_gru(rnn: nn.GRU) -> nn.GRU:
    plain = nn.GRU(rnn.input_size, rnn.hidden_size, rnn.num_layers, batch_first=True)
    plain.load_state_dict(rnn.state_dict())
    return plain


@torch.no_grad()
def test_the_loss_with_plain_layers(make_day: MakeDay) -> None:
    """In evaluation; the third stock has no label, but is part of the market and rebuilt."""
    model, day = make("reconstruction=0.3"), with_market(make_day(6), 0.01)
    model.build_memory([with_market(make_day(6), mean) for mean in (-0.03, -0.01, 0.02, 0.04)])
    for head in (model.head, model.market_head, model.excess_adversary, model.market_adversary):
        head.norm.running_mean.normal_()
        head.norm.running_var.uniform_(0.5, 2)
    day.labels[2] = torch.nan

    def apply(head: nn.Module, x: Tensor) -> Tensor:
        norm = head.norm
        z = (head.hidden(x) - norm.running_mean) / (norm.running_var + 1e-5).sqrt()
        return head.output((z * norm.weight + norm.bias).tanh())

    states = [plain_gru(e.rnn)(day.features)[1] for e in (model.encoder, model.market_encoder)]
    e, m = (torch.cat([h[0], h[1]], dim=1) for h in states)
    scores = apply(model.head, e)[:, 0]
    torch.testing.assert_close(model(day), scores)

    known = [0, 1, 3, 4, 5]
    guess = apply(model.excess_adversary, m)[:, 0]
    expected = sum(((x - day.labels)[known] ** 2).mean() for x in (scores, guess))
    # terciles of the four means: -0.01 and 0.02; 0.01 is of the second class
    for logits in (apply(model.market_head, m), apply(model.market_adversary, e)):
        expected = expected - logits.log_softmax(dim=1)[:, 1].mean()
    decoder, state = plain_gru(model.decoder.rnn), torch.cat(states, dim=2)
    x, rebuilt = torch.zeros(6, 1, 6), []
    for _ in range(20):
        output, state = decoder(x, state)
        x = model.decoder.output(output)
        rebuilt.append(x[:, 0])
    error = (torch.stack(rebuilt, dim=1) - day.features).square().mean()
    torch.testing.assert_close(model.loss(day), expected + 0.3 * error)


def test_the_classes_of_the_market(make_day: MakeDay) -> None:
    model = make()
    model.build_memory([with_market(make_day(6), mean) for mean in (-0.03, -0.01, 0.02, 0.04)])
    means = [-0.05, -0.0101, -0.0099, 0.0199, 0.0201, 0.5]
    found = [int(model.market_class(with_market(make_day(6), mean))) for mean in means]
    assert found == [0, 0, 1, 1, 2, 2]


def test_the_terciles_are_those_of_the_training_days(tmp_path: Path) -> None:
    config = small_config("model=add", "model.hidden_size=2", f"folder={tmp_path}")
    data, model = make_data(config), make()
    model.build_memory(data.days("train"))
    batches = [*data.days("train")]
    other = make()
    other.build_memory(batches)
    assert model._terciles == pytest.approx(other._terciles, rel=1e-5)
    classes = [int(model.market_class(day)) for day in batches]
    counts = [classes.count(k) for k in range(3)]
    assert max(counts) - min(counts) <= 1
    run = fit(config)
    assert run.model._terciles == model._terciles


def test_a_reversed_gradient() -> None:
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    y = reverse(x, 0.3)
    assert torch.equal(y, x)
    (y * torch.tensor([1.0, 4.0])).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([-0.3, -1.2]))


def test_the_reversal_grows_with_the_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """At resume, the epoch gives it, so that no state is lost."""
    model, found = make(), []
    for epoch in (0, 1, 3, 4, 5, 100):
        at_epoch(monkeypatch, epoch)
        found.append(model.reversal)
    assert found[:4] == pytest.approx([math.tanh(p / 20) for p in (0, 1, 3, 4)])
    assert found[4:] == [0.2, 0.2]


def test_an_adversary_moves_an_encoder_away_from_what_it_reads(
    make_day: MakeDay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With heads that give no gradient, only the reversed one of the adversary is left."""
    gradients = []
    for epoch in (0, 2, 100):
        at_epoch(monkeypatch, epoch)
        model, day = make("reconstruction=0", "dropout=0"), make_day(6)
        model.build_memory([make_day(6, seed=seed) for seed in range(4)])
        nn.init.zeros_(model.head.output.weight)
        nn.init.zeros_(model.market_head.output.weight)
        model.train().loss(day).backward()
        gradients.append(model.encoder.rnn.weight_hh_l0.grad)
    assert not gradients[0].any()
    torch.testing.assert_close(gradients[1] * 0.2, gradients[2] * math.tanh(0.1))
    assert gradients[1].any()


def test_a_day_norm_is_batch_norm(make_day: MakeDay) -> None:
    norm, reference = DayNorm(4), nn.BatchNorm1d(4)
    for seed in range(3):
        x = 2 + torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(norm(x, torch.tensor(True)), reference(x))
    torch.testing.assert_close(norm.running_mean, reference.running_mean)
    torch.testing.assert_close(norm.running_var, reference.running_var)
    norm.eval(), reference.eval()
    torch.testing.assert_close(norm(x), reference(x))


def test_days_without_labels_and_of_one_stock_change_no_statistics() -> None:
    norm = DayNorm(4)
    before = copy.deepcopy(norm.state_dict())
    norm(torch.randn(5, 4))
    norm(torch.randn(5, 4), torch.tensor(False))
    single = norm(torch.ones(1, 4), torch.tensor(True))
    assert all(torch.equal(before[name], x) for name, x in norm.state_dict().items())
    assert single.isfinite().all()
    expected = F.batch_norm(torch.ones(1, 4), norm.running_mean, norm.running_var)
    torch.testing.assert_close(single, expected)


@pytest.mark.parametrize("n_stocks", [1, 2])
def test_a_day_of_few_stocks_is_learned_from(n_stocks: int, make_day: MakeDay) -> None:
    model = make().train()
    model.build_memory([make_day(6, seed=seed) for seed in range(4)])
    loss = model.loss(make_day(n_stocks))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_day_without_labels_teaches_nothing(cell: str, make_day: MakeDay) -> None:
    model = make(f"cell={cell}").train()
    model.build_memory([make_day(6, seed=seed) for seed in range(4)])
    loss = model.loss(make_day(6).without_labels())
    loss.backward()
    assert float(loss) == 0
    assert not any(p.grad is not None and p.grad.any() for p in model.parameters())


def test_the_score_is_that_of_the_excess_encoder_alone(make_day: MakeDay) -> None:
    model, day = make(), make_day(5)
    before = model(day)
    for part in (model.market_encoder, model.decoder, model.market_head, model.excess_adversary):
        for p in part.parameters():
            nn.init.normal_(p)
    assert torch.equal(model(day), before)


def test_parameters_are_those_of_the_reference() -> None:
    model = instantiate(compose("model=add").model)
    assert sum(p.numel() for p in model.parameters()) == 297_742


def test_what_cannot_be_is_one_line(make_day: MakeDay) -> None:
    with pytest.raises(InputError, match="ADD needs the returns of all training days"):
        make().loss(make_day(4))
    with pytest.raises(InputError, match="no training day has a return"):
        make().build_memory([make_day(4).without_labels()])
    trainer = L.Trainer(
        logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False
    )
    with pytest.raises(InputError, match="pass the Trainer a MarketDataModule"):
        trainer.fit(make(), DataLoader([make_day(4)], batch_size=None))
