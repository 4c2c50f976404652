"""Boosted trees: those of the library itself, grown by epochs of the Trainer."""

import sys
from pathlib import Path

import lightgbm
import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import MakeDay, Run, fit, fit_strong_reversal, make_data, small_config

from alphazoo.commands.job import train
from alphazoo.config import instantiate
from alphazoo.data.module import MarketDataModule
from alphazoo.data.seeds import epoch_seed
from alphazoo.errors import InputError
from alphazoo.models import describe_zoo
from alphazoo.models.lightgbm import LightGBM

TREES = ["model=lightgbm", "model.trees_per_epoch=4", "model.lambda_l1=0", "model.weight_decay=5"]
PLAIN = {  # the same, as the library calls it
    "objective": "regression",
    "learning_rate": 0.2,
    "num_leaves": 210,
    "max_depth": 8,
    "feature_fraction": 0.8879,
    "bagging_fraction": 0.8789,
    "lambda_l2": 5.0,
    "deterministic": True,
    "force_col_wise": True,
    "verbosity": -1,
}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three epochs of four trees."""
    folder = tmp_path_factory.mktemp("lightgbm")
    return fit(small_config(*TREES, "trainer.max_epochs=3", "seed=7", f"folder={folder}"))


def plain_rows(data: MarketDataModule) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    days = list(data.days("train"))
    features = np.concatenate([day.features.reshape(len(day.stocks), -1).numpy() for day in days])
    labels = np.concatenate([day.labels.numpy() for day in days])
    known = np.isfinite(labels)
    return features[known], labels[known]


@pytest.mark.parametrize("bagging_freq", [0, 1])
def test_the_trees_are_those_of_the_library(bagging_freq: int, tmp_path: Path) -> None:
    """Where columns and rows are drawn, too; stocks without a label are left out."""
    bagging = f"model.bagging_freq={bagging_freq}"
    drop = "label.drop_extreme=0.2"
    run = fit(small_config(*TREES, bagging, drop, "trainer.max_epochs=3", f"folder={tmp_path}"))
    features, labels = plain_rows(run.data)
    assert len(labels) < sum(len(day.stocks) for day in run.data.days("train"))
    settings = {**PLAIN, "bagging_freq": bagging_freq, "seed": run.config.seed}
    seeds = [epoch_seed(run.config.seed, epoch) % 2**31 for epoch in range(3)]
    drawn = [{"feature_fraction_seed": seed, "bagging_seed": seed} for seed in seeds]
    booster = lightgbm.Booster(settings | drawn[0], lightgbm.Dataset(features, labels))
    for epoch in range(3):
        if epoch:
            booster.reset_parameter(drawn[epoch])
        for _ in range(4):
            booster.update()
    expected = booster.predict(run.day.features.flatten(1).numpy())
    assert np.array_equal(run.model(run.day).numpy(), expected.astype(np.float32))
    error = ((booster.predict(features) - labels) ** 2).mean()
    assert float(run.trainer.logged_metrics["train/loss"]) == pytest.approx(error, rel=1e-5)


def test_the_same_seed_gives_the_same_trees(fitted: Run, tmp_path: Path) -> None:
    scores = []
    for seed in (7, 8):
        options = [f"seed={seed}", "trainer.max_epochs=3", f"folder={tmp_path / str(seed)}"]
        scores.append(fit(small_config(*TREES, *options)).model(fitted.day))
    assert torch.equal(scores[0], fitted.model(fitted.day))
    assert not torch.equal(scores[1], scores[0])


def test_trees_find_what_one_window_shows(tmp_path: Path) -> None:
    """A strong reversal, as for the GRU."""
    found, best = fit_strong_reversal(tmp_path, *TREES, "trainer.max_epochs=5")
    assert found > best / 2 > 0.15


def test_importance_is_what_one_whole_tree_takes_off_the_squared_error(tmp_path: Path) -> None:
    options = ["model.trees_per_epoch=1", "model.lr=1", "model.weight_decay=0"]
    run = fit(small_config(*TREES, *options, "trainer.max_epochs=1", f"folder={tmp_path}"))
    _, labels = plain_rows(run.data)
    gain = run.model.importance()
    assert gain.is_monotonic_decreasing
    names = [f"{name}-{age}" for age in range(19, -1, -1) for name in run.data.features.columns]
    assert run.model.booster.feature_name() == names  # in the order of the window
    loss = float(run.trainer.logged_metrics["train/loss"])
    assert gain.sum() == pytest.approx(len(labels) * (labels.var() - loss), rel=1e-4)


def test_a_scheduler_sets_the_rate_of_later_trees(tmp_path: Path) -> None:
    config = small_config(
        *TREES,
        "scheduler=step",
        "scheduler.scheduler.step_size=1",
        f"folder={tmp_path}",
    )
    train(config)
    model = LightGBM.load_from_checkpoint(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    rates = [tree["shrinkage"] for tree in model.booster.dump_model()["tree_info"]]
    assert rates[1:] == [0.2] * 3 + [0.1] * 4  # the first one has the mean of the labels added


def test_a_second_fit_goes_on_from_the_trees_of_the_first(fitted: Run, tmp_path: Path) -> None:
    model = LightGBM.load_from_checkpoint(fitted.last_checkpoint)
    first = model.booster.dump_model()["tree_info"]
    trainer = instantiate(small_config(f"folder={tmp_path}", "trainer.max_epochs=1").trainer)
    trainer.fit(model, fitted.data)
    both = model.booster.dump_model()["tree_info"]
    assert (len(first), len(both)) == (12, 16)
    assert both[:12] == first
    features, labels = plain_rows(fitted.data)
    error = ((model.booster.predict(features) - labels) ** 2).mean()
    assert float(trainer.logged_metrics["train/loss"]) == pytest.approx(error, rel=1e-5)


def test_an_epoch_makes_one_day_for_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trainer is the same afterwards."""
    made = []
    step = LightGBM.training_step
    monkeypatch.setattr(LightGBM, "training_step", lambda *given: made.append(1) or step(*given))
    run = fit(small_config(*TREES, "++trainer.limit_train_batches=5", f"folder={tmp_path}"))
    assert len(made) == run.config.trainer.max_epochs == 2
    assert run.trainer.limit_train_batches == 5


def test_a_fit_stops_when_there_is_no_split(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The penalty is above what a leaf of so few rows can gain."""
    with caplog.at_level("INFO"):
        run = fit(small_config("model=lightgbm", "trainer.max_epochs=9", f"folder={tmp_path}"))
    assert run.trainer.current_epoch < 3
    assert "stopped after 1 trees: no further split lowers the loss" in caplog.text


def test_names_of_columns_with_signs_that_the_library_refuses(tmp_path: Path) -> None:
    config = small_config(*TREES, "trainer.max_epochs=1", f"folder={tmp_path}")
    data, model = make_data(config), instantiate(config.model)
    data.setup()
    data.features.columns[:2] = ["ret[5]", "a: b"]
    instantiate(config.trainer).fit(model, data)
    assert {"ret_5_-0", "a__b-19"} <= {*model.importance().index}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.trees_per_epoch=0"], "model.trees_per_epoch must be at least 1, got 0"),
        (["model.num_leaves=1"], "model.num_leaves=1: expected a whole number"),
        (["model.lr=-1"], "model.lr=-1: expected a number"),
        (["trainer=ddp", "trainer.devices=1"], "LightGBM trains in one process"),
    ],
)
def test_settings_that_cannot_be_are_named(
    overrides: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match=message):
        train(small_config(*TREES, *overrides, f"folder={tmp_path}"))
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.thorough
def test_without_the_library_the_zoo_has_it_and_a_run_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    assert "lightgbm" in describe_zoo()
    with pytest.raises(InputError, match=r"pip install 'alphazoo\[gbdt\]'"):
        train(small_config(*TREES, f"folder={tmp_path}"))


def test_scores_need_trees_for_as_many_columns(fitted: Run, make_day: MakeDay) -> None:
    with pytest.raises(InputError, match="LightGBM has no trees yet: fit it, or load a checkpoint"):
        instantiate(fitted.config.model)(fitted.day)
    with pytest.raises(InputError, match=r"features in data \(6\) is not the same .* \(120\)"):
        fitted.model(make_day(3, window=1))


def test_a_loader_without_its_data_module_is_refused(fitted: Run, tmp_path: Path) -> None:
    trainer = instantiate(small_config(f"folder={tmp_path}").trainer)
    loaders = fitted.data.train_dataloader(), fitted.data.val_dataloader()
    with pytest.raises(InputError, match="pass the Trainer a MarketDataModule, not a loader"):
        trainer.fit(instantiate(fitted.config.model), *loaders)
