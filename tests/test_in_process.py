"""Data modules, models and Trainers that share a process share nothing else."""

import copy
from itertools import pairwise
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from conftest import make_data, small_config, small_frame
from torch import Tensor

from alphazoo import Alpha360, Label
from alphazoo.averaging import LastEpochsAverage
from alphazoo.config import instantiate
from alphazoo.data.market import Market
from alphazoo.data.module import MarketDataModule
from alphazoo.data.scaling import DayZScore, Scaler, ZScore
from alphazoo.models.base import StockModel

FIRST, SECOND = ["2015-01-05", "2015-02-15"], ["2015-02-16", "2015-04-15"]


@pytest.fixture(scope="module")
def market() -> Market:
    return Market.from_table(small_frame(), indices=["ST7"])


def module(market: Market, train: list[str], scaler: Scaler | None = None) -> MarketDataModule:
    return MarketDataModule(
        market,
        Alpha360(["close", "volume"], window=2),
        Label(buy=1, sell=2, scale="rank"),
        scaler or ZScore(clip=3.0, max_rows=10_000),
        train=train,
        valid=["2015-04-16", "2015-05-15"],
        test=["2015-05-16", None],
        embargo=0,
        min_stocks=2,
    )


def mean_of_lag(data: MarketDataModule) -> float:
    """Mean of yesterday's close by today's on the train days, from the market alone."""
    close = data.market.field("close").double().numpy()
    rows = np.array(data.segments["train"])
    ratios = (close[rows - 1] / close[rows])[data.market.present.numpy()[rows]]
    return float(ratios.mean())


def center_of_lag(data: MarketDataModule) -> float:
    return float(data.scaler.state_dict()["center"][0, 0, 0])


# scalers


def test_a_scaler_given_to_two_data_modules_is_fitted_for_each(market: Market) -> None:
    shared = ZScore(clip=3.0, max_rows=10_000)
    modules = [module(market, train, shared) for train in (FIRST, SECOND)]
    for data in modules:
        data.days("train")
    for data in modules:
        assert center_of_lag(data) == pytest.approx(mean_of_lag(data), rel=1e-6)
    assert mean_of_lag(modules[0]) != pytest.approx(mean_of_lag(modules[1]), rel=1e-6)
    assert not shared.fitted
    # one that was fitted elsewhere says nothing about these days
    third = module(market, SECOND, modules[0].scaler)
    third.days("train")
    assert center_of_lag(third) == center_of_lag(modules[1])


def test_a_fit_forgets_the_statistics_of_a_checkpoint_that_was_scored_before(
    market: Market,
) -> None:
    other, data = module(market, SECOND), module(market, FIRST)
    other.days("train")
    data.load_state_dict(other.state_dict())
    assert center_of_lag(data) == center_of_lag(other)
    state = data.days("test").panels.market.scaler.state_dict()["center"]
    data.setup("test")
    data.days("test")
    assert center_of_lag(data) == center_of_lag(other)  # to score with
    data.setup("fit")
    data.days("train")
    assert center_of_lag(data) == pytest.approx(mean_of_lag(data), rel=1e-6)
    fitted = data.days("test").panels.market.scaler.state_dict()["center"]
    assert not torch.equal(fitted, state)


# seeds


def test_a_trainer_does_not_inherit_the_seed_of_one_that_was_stopped(market: Market) -> None:
    def order(data: MarketDataModule, seed: int) -> list[int]:
        torch.manual_seed(seed)
        data.setup("fit")
        data.trainer = L.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
        return [int(day.date) for day in data.train_dataloader()]

    data = module(market, FIRST)
    order(data, 0)  # its Trainer is stopped: there is no teardown
    assert order(data, 1) == order(module(market, FIRST), 1)


# what a model remembers


def igmtf(**options: int) -> StockModel:
    torch.manual_seed(0)
    config = small_config("model=igmtf", "model.hidden_size=4", "model.dropout=0")
    sizes = {"n_features": 2, "k_day": 3, "n_neighbor": 4, **options}
    return instantiate(config.model, **sizes).eval()


def score_test_day(model: StockModel, data: MarketDataModule) -> Tensor:
    trainer = L.Trainer(
        logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu"
    )
    trainer.predict(model, data, return_predictions=False)
    return model(data.days("test")[0])


def test_the_memory_is_that_of_the_train_days_scaling_and_prices_at_hand(market: Market) -> None:
    """One model scores again and again; each time as a fresh copy of it does.

    Statistics, train days and prices change one at a time; the first train day and, but for one
    change, the number of days stay.
    """
    close = market.field("close").clone()
    close[20] *= torch.linspace(1, 2, close.shape[1])  # a train day, but not the first
    changed = Market(**{**market.__dict__, "fields": {**market.fields, "close": close}})
    other = module(market, SECOND)
    other.days("train")
    statistics = other.state_dict()
    data = module(market, FIRST)
    by_day, by_day_too = (module(m, FIRST, DayZScore(clip=3.0)) for m in (market, changed))
    model, found = igmtf(), []

    def check(data: MarketDataModule) -> None:
        scores = score_test_day(model, data)
        fresh = igmtf()
        fresh.remember(data.train_days())
        assert torch.equal(scores, fresh(data.days("test")[0]))
        assert torch.equal(model._memory.rows, fresh._memory.rows)
        found.append(fresh._memory.rows)

    check(data)
    data.load_state_dict(statistics)
    check(data)
    data.segments["train"] = data.segments["train"][:-3]
    check(data)
    data.segments["train"] = [*data.segments["train"][:-1], data.segments["train"][-1] + 1]
    check(data)
    check(by_day)
    check(by_day_too)
    assert all(not torch.equal(*pair) for pair in pairwise(found))


def test_the_memory_is_kept_while_nothing_changes(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data, made = igmtf(), module(market, FIRST), []
    keep = type(model)._keep
    monkeypatch.setattr(type(model), "_keep", lambda *given: made.append(1) or keep(*given))
    for _ in range(2):
        score_test_day(model, data)
    assert len(made) == 1
    score_test_day(copy.deepcopy(model), data)


# callbacks


def test_an_average_of_the_last_epochs_has_none_of_an_earlier_fit(tmp_path: Path) -> None:
    def fit(averaging: LastEpochsAverage, seed: int) -> Tensor:
        config = small_config("model=linear", "features.window=2", f"folder={tmp_path}")
        L.seed_everything(seed, verbose=False)
        model, data = instantiate(config.model), make_data(config)
        trainer = L.Trainer(
            max_epochs=2,
            callbacks=[averaging],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            accelerator="cpu",
        )
        trainer.fit(model, data)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    shared = LastEpochsAverage(3)
    fit(shared, 0)
    assert torch.equal(fit(shared, 1), fit(LastEpochsAverage(3), 1))
