"""Features for other tools, and the audit of features for look-ahead."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import FEATURES, small_config
from torch import Tensor

from alphazoo.config import instantiate
from alphazoo.data.audit import find_look_ahead
from alphazoo.data.export import export_features
from alphazoo.data.labels import Label
from alphazoo.errors import InputError
from alphazoo.features.alpha360 import Alpha360
from alphazoo.features.base import FeatureSet, FeatureWindows
from alphazoo.market.market import Market

LABEL = Label(buy=1, sell=2, scale="rank")


def test_an_export_has_a_row_per_day_and_present_member(
    small_market: Market, tmp_path: Path
) -> None:
    features = Alpha360(["close", "high"], window=3)
    file = tmp_path / "new" / "features.parquet"
    count = export_features(small_market, features, LABEL, file, first="2015-02", last="2015-06-30")
    table = pd.read_parquet(file)
    lags = [f"{name}_{lag}" for lag in (2, 1, 0) for name in ("close", "high")]
    assert table.columns.tolist() == ["date", "symbol", *lags, "label"]
    days = small_market.dates.slice_indexer("2015-02", "2015-06-30")
    assert count == len(table) == int(small_market.present[days].sum())
    assert table["date"].is_monotonic_increasing
    line = table.iloc[-1]
    day, stock = days.stop - 1, small_market.symbols.index(line["symbol"])
    assert line["date"] == small_market.dates[day]
    close = small_market.field("close")[:, stock]
    assert line["close_1"] == pytest.approx(float(close[day - 1] / close[day]))
    assert line["close_0"] == 1
    expected = LABEL.returns(small_market.field("close"))[day, stock]
    np.testing.assert_equal(line["label"], expected.item())
    assert [*file.parent.iterdir()] == [file]  # nothing half-written


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file": "f.csv"}, "ends in .parquet, got"),
        ({"first": "2031"}, "no trading day from 2031 to None: market"),
        ({"first": "yesterdai"}, "from: 'yesterdai' is not a date: expected YYYY-MM-DD"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    options: dict[str, str], message: str, tmp_path: Path
) -> None:
    market = instantiate(small_config().data.market)()
    file = tmp_path / options.pop("file", "f.parquet")
    with pytest.raises(InputError, match=message):
        export_features(market, Alpha360(["close"], window=3), LABEL, file, **options)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", FEATURES)
def test_no_feature_set_looks_ahead(name: str, small_market: Market) -> None:
    config = small_config(f"features={name}", "features.window=20")
    assert find_look_ahead(small_market, instantiate(config.features)) == {}


class Planted(FeatureSet):
    """``close`` and ``planted``, a panel [D, S] made from the close."""

    def __init__(self, planted: Callable[[Tensor], Tensor]) -> None:
        super().__init__(["close", "planted"], window=3)
        self.planted = planted

    def bind(self, market: Market) -> FeatureWindows:
        close = market.field("close")
        windows = Alpha360(["close", "planted"], window=3)
        fields = {**market.fields, "planted": self.planted(close)}
        return windows.bind(Market(market.name, market.dates, market.symbols, fields, close > 0))


@pytest.mark.parametrize(
    "planted",
    [
        lambda close: close.nan_to_num().mean(dim=0).expand_as(close),  # of all of the history
        lambda close: close.roll(-1, dims=0),  # of tomorrow
        lambda close: close.roll(5, dims=0),  # of the last days, on the first ones
        lambda close: torch.linspace(1, 2, len(close))[:, None].expand_as(close),  # of its length
    ],
)
def test_the_audit_names_what_looks_ahead(planted: Callable[[Tensor], Tensor]) -> None:
    market = instantiate(small_config().data.market)()
    found = find_look_ahead(market, Planted(planted), n_days=4)
    assert found.keys() == {"planted"}
    assert len(found["planted"]) >= 1


def test_the_past_of_a_market_ends_on_its_day(small_market: Market) -> None:
    past = small_market.until(9)
    assert past.dates[-1] == small_market.dates[9]
    assert past.members.shape == (10, len(small_market.symbols))
    assert torch.equal(past.present, small_market.present[:10])
