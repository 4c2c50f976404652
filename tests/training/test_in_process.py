"""A fit takes nothing from what its data module or callbacks did before in the same process."""

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from conftest import make_data, small_config, small_frame
from torch import Tensor

from alphazoo import Alpha360, Label
from alphazoo.config import instantiate
from alphazoo.data.module import MarketDataModule
from alphazoo.data.scaling import ZScore
from alphazoo.market.concept_sources import correlation_groups
from alphazoo.market.market import Market
from alphazoo.training.averaging import LastEpochsAverage

FIRST, SECOND = ["2015-01-05", "2015-02-15"], ["2015-02-16", "2015-04-15"]


@pytest.fixture(scope="module")
def market() -> Market:
    return Market.from_table(small_frame(), indices=["ST7"])


def module(market: Market, train: list[str], **options: Any) -> MarketDataModule:
    return MarketDataModule(
        market,
        Alpha360(["close", "volume"], window=2),
        options.pop("label", Label(buy=1, sell=2, scale="rank")),
        ZScore(clip=3.0, max_rows=10_000),
        train=train,
        valid=["2015-04-16", "2015-05-15"],
        test=["2015-05-16", None],
        embargo=0,
        min_stocks=2,
        **options,
    )


def mean_of_lag(data: MarketDataModule) -> float:
    """Mean of yesterday's close by today's on the train days, from the market alone."""
    close = data.market.field("close").double().numpy()
    rows = np.array(data.segments["train"])
    ratios = (close[rows - 1] / close[rows])[data.market.present.numpy()[rows]]
    return float(ratios.mean())


def center_of_lag(data: MarketDataModule) -> float:
    return float(data.scaler.state_dict()["center"][0, 0, 0])


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


def test_a_fit_forgets_the_concepts_of_a_checkpoint_that_was_scored_before(
    market: Market,
) -> None:
    """Groups by correlation are made from the train days, and neutral labels from the groups."""
    source = partial(correlation_groups, n_groups=3, min_days=5)
    label = Label(buy=1, sell=2, scale="raw", neutral=True)
    other, data = (module(market, days, label=label, concepts=source) for days in (SECOND, FIRST))
    own, stocks = source(market, data_rows(data)), torch.arange(8)
    expected = data.days("test").panels.labels.nan_to_num()
    assert not torch.equal(groups_of(other), own.on(0, stocks))
    other.days("train")
    data.load_state_dict(other.state_dict())
    assert torch.equal(groups_of(data), groups_of(other))  # to score with
    data.setup("fit")
    assert torch.equal(groups_of(data), own.on(0, stocks))
    assert torch.equal(data.days("test").panels.labels.nan_to_num(), expected)


def data_rows(data: MarketDataModule) -> list[int]:
    data.setup()
    return list(data.segments["train"])


def groups_of(data: MarketDataModule) -> Tensor:
    return data.days("test").panels.concepts.on(0, torch.arange(8))


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
