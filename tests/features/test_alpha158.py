"""Alpha158: hand-worked columns, and nothing from the future."""

import numpy as np
import pandas as pd
import pytest
import torch
from markets import random_arrays, random_market

from alphazoo.config import compose
from alphazoo.features.alpha158 import COLUMNS
from alphazoo.features.panels import Panels
from alphazoo.market.market import Market


def candle_market() -> Market:
    """One stock of five days; today opens at 10, trades from 8 to 13 and closes at 12."""
    fields = {
        "open": [9, 9, 9, 9, 10],
        "high": [10, 16, 10, 10, 13],
        "low": [8, 8, 4, 8, 8],
        "close": [9, 12, 6, 8, 12],
        "volume": [100, 300, 200, 200, 400],
    }
    return Market.from_arrays(
        name="candle",
        dates=pd.bdate_range("2020-01-01", periods=5),
        symbols=["A"],
        fields={name: np.array(x, dtype=np.float32)[:, None] for name, x in fields.items()},
        members=np.ones((5, 1), dtype=bool),
    )


TODAY = {
    "KMID": 2 / 10,
    "KLEN": 5 / 10,
    "KMID2": 2 / 5,
    "KUP": 1 / 10,
    "KUP2": 1 / 5,
    "KLOW": 2 / 10,
    "KLOW2": 2 / 5,
    "KSFT": 3 / 10,
    "KSFT2": 3 / 5,
    "OPEN0": 10 / 12,
    "HIGH0": 13 / 12,
    "LOW0": 8 / 12,
    "MA5": 47 / 5 / 12,
    "MAX5": 16 / 12,
    "MIN5": 4 / 12,
    "RSV5": 8 / 12,
    "RANK5": 4.5 / 5,  # shares the highest rank with one other day
    "IMAX5": 2 / 5,
    "IMIN5": 3 / 5,
    "IMXD5": -1 / 5,
    "CNTP5": 3 / 5,
    "CNTN5": 1 / 5,
    "CNTD5": 2 / 5,
    "SUMP5": 9 / 15,  # moves of +3, -6, +2, +4
    "SUMN5": 6 / 15,
    "SUMD5": 3 / 15,
    "QTLU5": 12 / 12,
    "QTLD5": (6 + 0.8 * 2) / 12,
    "VMA5": 240 / 400,
    "VSUMP5": 400 / 500,  # moves of +200, -100, 0, +200
    "VSUMN5": 100 / 500,
    "VSUMD5": 300 / 500,
}


@pytest.mark.parametrize("column", TODAY)
def test_columns_by_hand(column: str) -> None:
    window = Panels([column], window=1).bind(candle_market())(4, torch.tensor([0]))
    assert window.item() == pytest.approx(TODAY[column], rel=1e-5)


def test_the_names_are_the_158_published_ones_in_order() -> None:
    assert len(COLUMNS) == len(set(COLUMNS)) == 158
    assert COLUMNS[:2] == ("KMID", "KLEN")
    assert COLUMNS[9:13] == ("OPEN0", "HIGH0", "LOW0", "VWAP0")
    assert COLUMNS[13:19] == ("ROC5", "ROC10", "ROC20", "ROC30", "ROC60", "MA5")
    assert COLUMNS[-1] == "VSUMD60"
    config = compose("features=alpha158").features
    assert (tuple(config.columns), config.window) == (COLUMNS, 1)


def test_columns_come_in_the_order_asked_for() -> None:
    market = random_market()
    every = Panels(COLUMNS, window=1).bind(market).parts[0]
    chosen = ["WVMA60", "KLOW", "RESI5", "QTLD20"]
    some = Panels(chosen, window=1).bind(market).parts[0]
    for column, panel in zip(chosen, some, strict=True):
        assert torch.equal(panel.nan_to_num(), every[COLUMNS.index(column)].nan_to_num())
    assert not every[:, 60:].isnan().all(dim=1).all(dim=1).any()  # each is computed


def test_prices_after_a_day_change_nothing_up_to_it() -> None:
    day = 90
    here = random_arrays(n_days=130)
    there = random_arrays(n_days=130)
    for panel in there["fields"].values():
        panel[day + 1 :] = 1 + 9 * np.random.default_rng(0).random(panel[day + 1 :].shape)
    before, after = (
        Panels(COLUMNS, window=1).bind(Market.from_arrays(**given)).parts[0].nan_to_num()
        for given in (here, there)
    )
    assert torch.equal(before[:, : day + 1], after[:, : day + 1])
    assert not torch.equal(before[:, day + 1], after[:, day + 1])
