"""Features, labels and scaling: hand-worked numbers, and nothing from the future."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import FEATURES, make_data, read_frame, small_config, small_frame
from scipy import stats

from alphazoo.config import compose, instantiate
from alphazoo.data.alpha360 import Alpha360
from alphazoo.data.labels import Label, forward_return
from alphazoo.data.market import Market
from alphazoo.data.scaling import RobustZScore
from alphazoo.errors import InputError


def toy_market(close: list[list[float]], volume: list[list[float]]) -> Market:
    """Three fields equal to close; dates from 2020-01-01 on."""
    prices = np.array(close, dtype=np.float32)
    fields = {name: prices.copy() for name in ("open", "high", "low", "close")}
    return Market.from_arrays(
        name="toy",
        dates=pd.bdate_range("2020-01-01", periods=len(prices)),
        symbols=["A", "B"],
        fields={**fields, "volume": np.array(volume, dtype=np.float32)},
        members=np.ones(prices.shape, dtype=bool),
    )


def change_after(market: Market, day: int) -> Market:
    """The same market with every price, volume and membership after a day replaced."""
    fields = {}
    for name, panel in market.fields.items():
        changed = panel.clone()
        changed[day + 1 :] = 1 + 9 * torch.rand(changed[day + 1 :].shape)
        fields[name] = changed.numpy()
    members = market.members.clone()
    members[day + 1 :] = torch.rand(members[day + 1 :].shape) < 0.7
    return Market.from_arrays(
        name="changed",
        dates=market.dates,
        symbols=market.symbols,
        fields=fields,
        members=members.numpy(),
    )


# Alpha360


def test_alpha360_by_hand() -> None:
    """Prices by today's close, volume by today's volume; oldest day first; fields in order."""
    market = toy_market([[10, 1], [11, 2], [12, 4]], [[100, 10], [300, 20], [200, 40]])
    windows = Alpha360(["close", "volume"], window=2).bind(market)
    found = windows(2, torch.tensor([0, 1])).transpose(0, 1)  # [N, T, F]
    expected = [[[11 / 12, 300 / 200], [1, 1]], [[2 / 4, 20 / 40], [1, 1]]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_flat_row_of_the_reference_is_features_by_time() -> None:
    """Qlib's row is CLOSE1, CLOSE0, VOLUME1, VOLUME0: [F, T]; ours is its transpose [T, F]."""
    market = toy_market([[10, 1], [11, 2], [12, 4]], [[100, 10], [300, 20], [200, 40]])
    window = Alpha360(["close", "volume"], window=2).bind(market)(2, torch.tensor([0]))[:, 0]
    row = torch.tensor([11 / 12, 1, 300 / 200, 1])
    torch.testing.assert_close(window, row.reshape(2, 2).T)


def test_history_before_the_calendar_is_unknown() -> None:
    market = toy_market([[10, 1], [11, 2]], [[1, 1], [1, 1]])
    window = Alpha360(["close"], window=2).bind(market)(0, torch.tensor([1]))
    np.testing.assert_array_equal(window[:, 0, 0], [np.nan, 1])


def test_a_missing_vwap_is_zero_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    market = toy_market([[10, 1], [11, 2]], [[1, 1], [1, 1]])
    windows = Alpha360(["close", "vwap"], window=2).bind(market)
    assert windows(1, torch.tensor([0, 1]))[..., 1].isnan().all()
    assert caplog.text.count("no vwap") == 1


def test_a_window_longer_than_the_history_is_refused() -> None:
    market = toy_market([[10, 1], [11, 2]], [[1, 1], [1, 1]])
    with pytest.raises(InputError, match="window is 3 days, but market 'toy' has only 2"):
        Alpha360(["close"], window=3).bind(market)
    with pytest.raises(InputError, match="need a window of 1 day or more"):
        Alpha360(["close"], window=0)
    with pytest.raises(InputError, match="no field 'clsoe'; did you mean 'close'"):
        Alpha360(["clsoe"], window=1).bind(market)


@pytest.mark.parametrize("features", FEATURES)
def test_columns_for_statistics_are_the_windows(features: str, small_market: Market) -> None:
    """What the scaler is fitted on is what it scales."""
    bound = instantiate(compose(f"features={features}", "features.window=5").features)
    windows = bound.bind(small_market)
    days = torch.tensor([0, 3, 50])
    stocks = torch.arange(len(small_market.symbols))
    time, n_features = windows.statistics_shape
    columns = torch.stack([*windows.columns(days)]).view(time, n_features, len(days), -1)
    for index, day in enumerate(days.tolist()):
        window = windows(day, stocks)[-time:].permute(0, 2, 1)  # [T, F, S]
        assert torch.equal(columns[:, :, index].nan_to_num(), window.nan_to_num())


# no look-ahead


@pytest.mark.parametrize("features", FEATURES)
def test_features_do_not_see_the_future(features: str, small_market: Market) -> None:
    day = 70
    stocks = torch.arange(len(small_market.symbols))
    bound = instantiate(compose(f"features={features}").features)
    here = bound.bind(small_market)(day, stocks)
    there = bound.bind(change_after(small_market, day))(day, stocks)
    assert torch.equal(here.nan_to_num(), there.nan_to_num())
    later = bound.bind(change_after(small_market, day))(day + 1, stocks)
    assert not torch.equal(
        bound.bind(small_market)(day + 1, stocks).nan_to_num(), later.nan_to_num()
    )


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("source", ["qlib", "table", "splits"])
def test_sources_do_not_bring_the_future_back(features: str, source: str, tmp_path: Path) -> None:
    """The files of a source are changed after a day; what is read of that day is bit-equal."""
    frame = small_frame().assign(split=1.0, dividend=0.0)
    day, last = 70, pd.Timestamp(frame["date"].unique()[70])
    changed, later = frame.copy(), frame["date"] > last
    prices = ["open", "high", "low", "close", "adjusted_close", "volume", "split", "dividend"]
    changed.loc[later, prices] = 1 + 9 * np.random.default_rng(0).random((later.sum(), len(prices)))
    found = []
    for name, table in (("before", frame), ("after", changed)):
        if source == "splits":
            events = {"split": "split", "dividend": "dividend"}
            market = Market.from_table(table, columns=events)
        else:
            market = read_frame(source, table, tmp_path / name)
        windows = instantiate(compose(f"features={features}").features).bind(market)
        found.append(windows(day, torch.arange(8)).nan_to_num())
    assert torch.equal(*found)


@pytest.mark.parametrize("features", FEATURES)
def test_statistics_do_not_see_valid_and_test(features: str, small_market: Market) -> None:
    config = small_config(f"features={features}", "features.window=20")
    last = small_market.dates.searchsorted(pd.Timestamp("2015-04-15"))
    statistics = []
    for market in (small_market, change_after(small_market, int(last))):
        data = make_data(config, market)
        data.days("train")
        statistics.append(data.scaler.state_dict())
    assert statistics[0].keys() == {"center", "scale"}
    for name, values in statistics[0].items():
        assert torch.equal(values, statistics[1][name])


def test_train_labels_do_not_see_valid_days(small_market: Market) -> None:
    """Train days are bit-equal, labels included, when every later day is changed."""
    config = small_config()
    last = small_market.dates.searchsorted(pd.Timestamp("2015-04-15"))
    before = make_data(config, small_market).days("train")
    after = make_data(config, change_after(small_market, int(last))).days("train")
    assert before.rows == after.rows
    for ours, theirs in zip(before, after, strict=True):
        for name in ours._fields:
            assert torch.equal(getattr(ours, name).nan_to_num(), getattr(theirs, name).nan_to_num())


# labels


def test_forward_return_by_hand() -> None:
    close = torch.tensor([[1.0], [2.0], [3.0], [torch.nan], [5.0]])
    returns = forward_return(close, buy=1, sell=2)[:, 0]
    np.testing.assert_allclose(returns, [0.5, np.nan, np.nan, np.nan, np.nan])
    held = forward_return(close, buy=1, sell=4)[:, 0]
    np.testing.assert_allclose(held, [1.5, np.nan, np.nan, np.nan, np.nan])


@pytest.mark.parametrize(("buy", "sell"), [(0, 1), (2, 2), (3, 1)])
def test_labels_that_trade_too_early_are_refused(buy: int, sell: int) -> None:
    with pytest.raises(InputError, match="need 1 <= "):
        forward_return(torch.ones(5, 1), buy=buy, sell=sell)
    with pytest.raises(InputError, match="need 1 <= "):
        Label(buy=buy, sell=sell, scale="raw")


def random_returns() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    returns = torch.randn(300, 20, generator=random).round(decimals=1)  # with ties
    returns[torch.rand(returns.shape, generator=random) < 0.1] = torch.nan
    return returns, torch.rand(returns.shape, generator=random) < 0.8


def test_rank_labels_are_percentile_ranks_of_the_present() -> None:
    returns, present = random_returns()
    labels = Label(buy=1, sell=2, scale="rank").scaled(returns, present)
    for row in (0, 251, 299):
        known = present[row] & returns[row].isfinite()
        ranks = stats.rankdata(returns[row][known])
        expected = (ranks / len(ranks) - 0.5) * 3.46
        np.testing.assert_allclose(labels[row][known], expected, rtol=1e-5)
        assert labels[row][~known].isnan().all()


def test_zscore_and_raw_labels() -> None:
    returns, present = random_returns()
    known = present[0] & returns[0].isfinite()
    zscore = Label(buy=1, sell=2, scale="zscore").scaled(returns, present)[0]
    np.testing.assert_allclose(
        zscore[known], stats.zscore(returns[0][known].numpy(), ddof=1), rtol=1e-4, atol=1e-6
    )
    raw = Label(buy=1, sell=2, scale="raw").scaled(returns, present)[0]
    assert torch.equal(raw[known], returns[0][known])
    with pytest.raises(InputError, match="unknown label.scale .ranks.; did you mean .rank"):
        Label(buy=1, sell=2, scale="ranks")


# scaling


def test_robust_zscore_agrees_with_scipy() -> None:
    """On every (lag, field): median and MAD of the present stocks of the train days."""
    data = make_data(small_config("features.window=4"))
    train = data.days("train")
    panels = train.panels
    raw = [panels.windows(row, panels.present[row].nonzero()[:, 0]) for row in train.rows]
    rows = torch.cat(raw, dim=1).permute(1, 0, 2).numpy()  # [R, T, F]
    statistics = data.scaler.state_dict()
    median = np.nanmedian(rows, axis=0)
    mad = stats.median_abs_deviation(rows, axis=0, nan_policy="omit")
    np.testing.assert_allclose(statistics["center"][:, 0], median, rtol=1e-6)
    np.testing.assert_allclose(statistics["scale"][:, 0], 1.4826 * (mad + 1e-12), rtol=1e-5)


def test_scaled_features_are_clipped_and_finite() -> None:
    scaler = RobustZScore(clip=3.0, max_rows=10)
    scaler.load_state_dict({"center": torch.zeros(1, 1, 1), "scale": torch.ones(1, 1, 1)})
    x = torch.tensor([1.0, -9.0, 9.0, torch.nan, torch.inf, -torch.inf]).view(1, -1, 1)
    assert scaler(x).flatten().tolist() == [1.0, -3.0, 3.0, 0.0, 0.0, 0.0]


def test_moving_a_scaler_leaves_the_original_where_it_is() -> None:
    scaler = RobustZScore(clip=3.0, max_rows=10)
    scaler.load_state_dict({"center": torch.zeros(1, 1, 1), "scale": torch.ones(1, 1, 1)})
    moved = scaler.to(torch.device("meta"))
    assert moved.state_dict()["center"].is_meta
    assert not scaler.state_dict()["center"].is_meta


def test_an_unknown_column_is_zero_after_scaling() -> None:
    """A market without vwap: nothing to fit on, NaN in, 0 out."""
    market = toy_market([[10, 1], [11, 2], [9, 3]], [[1, 1], [1, 1], [1, 1]])
    windows = Alpha360(["vwap"], window=2).bind(market)
    scaler = RobustZScore(clip=3.0, max_rows=10)
    scaler.fit(windows, range(3), market.present)
    assert scaler(windows(2, torch.tensor([0, 1]))).tolist() == [[[0.0], [0.0]]] * 2


def test_statistics_of_a_part_of_the_days_are_close() -> None:
    config = small_config("data.n_stocks=100", "features.window=3")
    data = make_data(config)
    data.setup()
    panels = data.days("train").panels
    part = RobustZScore(clip=3.0, max_rows=1000)
    part.fit(panels.windows, data.segments["train"], panels.present)
    exact = data.scaler.state_dict()
    error = (part.state_dict()["center"] - exact["center"]).abs() / exact["scale"].clamp(min=1e-6)
    assert 0 < error.max() < 0.3
