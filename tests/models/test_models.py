"""Rules that every model keeps; a new model is tested by having a yaml."""

import copy
import inspect
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import lightning as L
import pytest
import torch
from conftest import (
    MODELS,
    MakeDay,
    Run,
    fit_strong_reversal,
    make_data,
    model_overrides,
    small_config,
)
from hydra.utils import get_class

from alphazoo.commands.job import train
from alphazoo.config import compose, instantiate
from alphazoo.errors import DivergedError, InputError
from alphazoo.losses.pointwise import MSE
from alphazoo.metrics import summary
from alphazoo.models.base import StockModel
from alphazoo.training.fit import score_table


@pytest.mark.parametrize("n_stocks", [1, 2, 7])
def test_every_stock_gets_one_finite_score(run: Run, make_day: MakeDay, n_stocks: int) -> None:
    sizes = {"n_market": len(run.day.market), "n_concepts": run.day.concepts.shape[1]}
    scores = run.model(make_day(n_stocks, **sizes))
    assert scores.shape == (n_stocks,)
    assert scores.isfinite().all()


def test_scores_do_not_see_labels(run: Run) -> None:
    assert torch.equal(run.model(run.day.without_labels()), run.model(run.day))


def test_scores_follow_the_order_of_stocks(run: Run) -> None:
    order = torch.randperm(len(run.day.stocks), generator=torch.Generator().manual_seed(0))
    shuffled = run.day._replace(
        features=run.day.features[order],
        stocks=run.day.stocks[order],
        concepts=run.day.concepts[order],
    )
    torch.testing.assert_close(run.model(shuffled), run.model(run.day)[order])


def test_every_parameter_gets_a_gradient(run: Run) -> None:
    model = copy.deepcopy(run.model).train()
    loss = model.loss(run.day)
    if loss.requires_grad:  # else no parameter has a gradient, which is right if there is none
        loss.backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


@pytest.fixture
def _poisoned_memory() -> Iterator[None]:
    """Memory that torch hands out is full of nan: whoever reads it before writing shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_poisoned_memory")
def test_no_memory_is_read_before_it_is_written(run: Run) -> None:
    model = copy.deepcopy(run.model).train()
    loss = model.loss(run.day)
    assert loss.isfinite()
    if loss.requires_grad:
        loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_a_checkpoint_alone_restores_the_model(run: Run) -> None:
    model = type(run.model).load_from_checkpoint(run.last_checkpoint, weights_only=True)
    model.build_memory(run.data.days("train"))
    assert torch.equal(model.eval()(run.day), run.model(run.day))


def test_a_deep_copy_scores_the_same(run: Run) -> None:
    assert torch.equal(copy.deepcopy(run.model)(run.day), run.model(run.day))


def test_bfloat16_changes_scores_little_and_ties_none(run: Run) -> None:
    model = copy.deepcopy(run.model).eval()
    exact = model(run.day)
    with torch.autocast("cpu", torch.bfloat16):
        model.build_memory(run.data.days("train"))
        scores = model(run.day)
    assert scores.dtype == torch.float32
    assert len(scores.unique()) == len(exact.unique())
    assert torch.corrcoef(torch.stack([scores, exact]))[0, 1] > 0.99


@pytest.mark.parametrize("name", MODELS)
def test_yaml_and_signature_agree(name: str) -> None:
    node = small_config(f"model={name}").model
    parameters = inspect.signature(get_class(node._target_).__init__).parameters
    names = [p for p in parameters if p != "self"]
    assert [key for key in node if key != "_target_"] == names
    assert [p for p in names if parameters[p].default is not inspect.Parameter.empty] == []


def test_a_run_scores_each_test_day_once(run: Run) -> None:
    scores = score_table(run.trainer, run.model, run.data, "test")
    assert scores.groupby("date").size().tolist() == [
        len(day.stocks) for day in run.data.days("test")
    ]


@pytest.mark.parametrize("name", MODELS)
def test_random_returns_cannot_be_forecast(name: str) -> None:
    """IC of a model fitted on noise stays within three standard errors of 0: 0.03."""
    plain = {"lr": 0.006, "dropout": 0, "weight_decay": 0, "lambda_l1": 0, "k_day": 2}
    config = small_config(
        *model_overrides(name, hidden_size=32, feedforward_size=64, **plain),
        "data.n_stocks=100",
        "data.n_days=250",
        "data.reversal=0",
        "data.lead_lag=0",
        "data.train=['2015-02-01', '2015-02-05']",
        "features.window=10",
    )
    L.seed_everything(config.seed, verbose=False)
    data = make_data(config)
    model = instantiate(config.model)
    nothing = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(accelerator="cpu", max_epochs=30, limit_val_batches=0, **nothing)
    trainer.fit(model, data)
    model.eval()
    with torch.no_grad():  # a loss of its own has another scale
        errors = [MSE()(model(day), day.labels) for day in data.days("train")]
    assert torch.stack(errors).mean() < 0.95  # it did learn the noise
    table = score_table(trainer, model, data, "test")
    pairs = table["return"].notna().sum()
    assert abs(summary(table)["ic"]) < 3 / pairs**0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["model=gats", "model.graph=concepts", "model.heads=2", "model.aggregate=transformed"],
        ["model=hist", "model.own_concepts=true"],
        ["model=rsr", "model.strength=explicit"],
    ],
)
def test_models_that_see_a_sector_find_what_its_leaders_say(
    options: list[str], tmp_path: Path
) -> None:
    """Twice the best IC of one stock's own window, which no model of single stocks can reach."""
    reversal, lead_lag = 0.05, 0.5  # in units of the noise
    config = compose(
        *options,
        "model.cell=gru",
        "model.hidden_size=32",
        "model.dropout=0",
        "model.lr=2e-3",
        "data.n_stocks=200",
        "data.n_sectors=10",
        f"data.lead_lag={lead_lag}",
        f"data.reversal={reversal}",
        "features.window=10",
        "trainer.max_epochs=10",
        "trainer.accelerator=cpu",
        "trainer.enable_progress_bar=false",
        "report=false",
        f"folder={tmp_path}",
    )
    assert train(config)["test/ic"] > 2 * reversal / (1 + reversal**2 + lead_lag**2) ** 0.5


@pytest.mark.slow
def test_the_default_run_finds_half_of_the_best_ic(tmp_path: Path) -> None:
    """``alphazoo train`` as it is: at least half of what one stock's window can show."""
    config = compose(f"folder={tmp_path}", "trainer.accelerator=cpu")
    metrics = train(config)
    market = instantiate(config.data.market)()
    assert metrics["test/ic"] > market.oracle_ic("own", first=config.data.test[0]) / 2


def test_scores_that_are_not_finite_stop_the_run(run: Run) -> None:
    broken = copy.deepcopy(run.model)
    broken.forward = lambda day: torch.full_like(day.labels, torch.nan)
    message = r"2015-05-18: scores are not finite .* weights finite"
    with pytest.raises(DivergedError, match=message):
        run.trainer.test(broken, run.data, verbose=False)


def test_weights_that_are_not_finite_stop_the_run(run: Run) -> None:
    broken = copy.deepcopy(run.model)
    weights = [parameter.data.fill_(torch.nan) for parameter in broken.parameters()]
    stops = pytest.raises(DivergedError, match=r"scores are not finite .* weights not finite")
    with stops if weights else nullcontext():
        run.trainer.test(broken, run.data, verbose=False)


def test_a_model_without_forward_cannot_be_made() -> None:
    class Empty(StockModel):
        pass

    with pytest.raises(TypeError, match="forward"):
        Empty(lr=0.1, weight_decay=0.0)


def test_an_unknown_split_is_named(run: Run) -> None:
    with pytest.raises(InputError, match="unknown split 'tset'; did you mean 'test'"):
        score_table(run.trainer, run.model, run.data, "tset")
    with pytest.raises(InputError, match="unknown segment 'tset'; did you mean 'test'"):
        run.data.days("tset")


def test_the_loss_leaves_unknown_labels_out() -> None:
    scores = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    loss = MSE()(scores, torch.tensor([0.0, torch.nan, 1.0]))
    loss.backward()
    assert loss.item() == pytest.approx((1.0 + 4.0) / 2)
    assert scores.grad is not None
    assert scores.grad.tolist() == [1.0, 0.0, 2.0]


@pytest.mark.parametrize(
    ("optimizer", "scheduler"),
    [("adam", "none"), ("adamw", "cosine"), ("sgd", "step"), ("sgd", "plateau")],
)
def test_optimizers_and_schedulers_come_from_the_config(
    optimizer: str, scheduler: str, tmp_path: Path
) -> None:
    config = small_config(
        "model=linear",
        f"optimizer={optimizer}",
        f"scheduler={scheduler}",
        "model.lr=0.01",
        f"folder={tmp_path}",
        "trainer.max_epochs=1",
        "++trainer.limit_train_batches=2",
    )
    assert train(config)["test/days"] > 0
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    (group,) = saved["optimizer_states"][0]["param_groups"]
    assert group.get("initial_lr", group["lr"]) == 0.01
    assert ("momentum" in group) == (optimizer == "sgd")
    assert len(saved["lr_schedulers"]) == (scheduler != "none")


@pytest.mark.thorough
def test_the_gru_finds_what_one_window_shows(tmp_path: Path) -> None:
    """A strong reversal: at least half of the best possible IC within a few epochs."""
    settings = ["model.hidden_size=16", "model.lr=0.01", "trainer.max_epochs=6"]
    found, best = fit_strong_reversal(tmp_path, *settings)
    assert found > best / 2 > 0.15
