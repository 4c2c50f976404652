"""Features, labels and scaling: hand-worked numbers, and nothing from the future."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import FEATURES, SCALERS, make_data, read_frame, small_config
from markets import N_STOCKS, change_after, changing_concepts, concept_table, market_frame
from scipy import stats
from torch import Tensor

from alphazoo.config import compose, instantiate
from alphazoo.data.labels import Label
from alphazoo.data.ranks import percentile_ranks
from alphazoo.data.scaling import DayRank, DayZScore, MinMax, RobustZScore, Scaler, ZScore
from alphazoo.errors import InputError
from alphazoo.features.alpha360 import Alpha360
from alphazoo.features.base import FeatureWindows
from alphazoo.market.concepts import Concepts
from alphazoo.market.market import Market
from alphazoo.market.returns import forward_return


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
    features = Alpha360(["close", "vwap"], window=2)
    windows = features.bind(market)
    assert windows(1, torch.tensor([0, 1]))[..., 1].isnan().all()
    scaler = ZScore(clip=3.0, max_rows=10)
    scaler.fit(windows, [0, 1], market.present, features.columns)
    assert "constant on the training days are set to 0: vwap" in caplog.text
    assert scaler(windows(1, torch.tensor([0, 1])))[..., 1].count_nonzero() == 0


def test_a_window_longer_than_the_history_is_refused() -> None:
    market = toy_market([[10, 1], [11, 2]], [[1, 1], [1, 1]])
    with pytest.raises(InputError, match="window is 3 days, but market 'toy' has only 2"):
        Alpha360(["close"], window=3).bind(market)
    with pytest.raises(InputError, match="features.window must be at least 1"):
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
    frame = market_frame().assign(split=1.0, dividend=0.0)
    day, last = 70, pd.Timestamp(sorted(frame["date"].unique())[70])
    changed, later = frame.copy(), frame["date"] > last
    prices = ["open", "high", "low", "close", "vwap", "adjusted_close", "volume"]
    prices += ["split", "dividend"]
    changed.loc[later, prices] = 1 + 9 * np.random.default_rng(0).random((later.sum(), len(prices)))
    found = []
    for name, table in (("before", frame), ("after", changed)):
        if source == "splits":
            events = {name: name for name in ("split", "dividend", "vwap", "member")}
            market = Market.from_table(table, columns=events)
        else:
            market = read_frame(source, table, tmp_path / name)
        windows = instantiate(compose(f"features={features}").features).bind(market)
        found.append(windows(day, torch.arange(N_STOCKS)).nan_to_num())
    assert torch.equal(*found)


@pytest.mark.parametrize("features", FEATURES)
def test_statistics_do_not_see_valid_and_test(features: str, small_market: Market) -> None:
    config = small_config(f"features={features}", "features.window=20")
    last = small_market.dates.searchsorted(pd.Timestamp("2015-04-15"))
    statistics = []
    for market in (small_market, change_after(small_market, int(last))):
        data = make_data(config, market)
        data.days("train")
        state = data.state_dict()
        statistics.append({name: state[name] for name in ("scaler", "market")})
    before, after = statistics
    assert before["market"]["indices"] == list(small_market.indices)
    for found, again in (
        (before["scaler"], after["scaler"]),
        (before["market"]["scaler"], after["market"]["scaler"]),
    ):
        assert found.keys() == {"kind", "center", "scale"}
        for name in ("center", "scale"):
            assert torch.equal(found[name], again[name])


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
    labels = Label(buy=1, sell=2, scale="rank").scaled(returns, present, groups())
    for row in (0, 251, 299):
        known = present[row] & returns[row].isfinite()
        ranks = stats.rankdata(returns[row][known])
        expected = (ranks / len(ranks) - 0.5) * 3.46
        np.testing.assert_allclose(labels[row][known], expected, rtol=1e-5)
        assert labels[row][~known].isnan().all()


def test_zscore_and_raw_labels() -> None:
    returns, present = random_returns()
    known = present[0] & returns[0].isfinite()
    zscore = Label(buy=1, sell=2, scale="zscore").scaled(returns, present, groups())[0]
    np.testing.assert_allclose(
        zscore[known], stats.zscore(returns[0][known].numpy(), ddof=1), rtol=1e-4, atol=1e-6
    )
    raw = Label(buy=1, sell=2, scale="raw").scaled(returns, present, groups())[0]
    assert torch.equal(raw[known], returns[0][known])
    with pytest.raises(InputError, match="unknown label.scale .ranks.; did you mean .rank"):
        Label(buy=1, sell=2, scale="ranks")


def groups(*columns: list[int]) -> Concepts:
    """Concept k has the stocks of column k, on every day."""
    members = [(stock, k) for k, stocks in enumerate(columns) for stock in stocks]
    stocks, concepts = torch.tensor(members, dtype=torch.long).view(-1, 2).T
    return Concepts(
        names=tuple(f"group {k}" for k in range(len(columns))),
        n_stocks=40,
        stocks=stocks,
        concepts=concepts,
        first=torch.zeros_like(stocks),
        last=torch.full_like(stocks, 10**6),
        weights=torch.ones(len(stocks)),
    )


def label_row(values: list[float], concepts: Concepts | None = None, **options: Any) -> list[float]:
    """Raw labels of one day of stocks that are all present."""
    returns = torch.tensor([values])
    label = Label(buy=1, sell=2, scale="raw", **options)
    return label.scaled(returns, returns == returns, concepts or groups())[0].tolist()


def test_winsorized_labels_end_at_the_quantiles() -> None:
    returns = [float(i) for i in range(11)]
    assert label_row(returns, winsorize=0.1) == [1.0, *returns[1:-1], 9.0]


def test_each_day_has_quantiles_and_extremes_of_its_own() -> None:
    """A quiet day beside a wild one: neither sets the ends of the other."""
    quiet = torch.arange(40.0) / 1000
    returns = torch.stack([quiet, 100 * quiet.flip(0) - 2, quiet, 7 * quiet])
    present = torch.ones(returns.shape, dtype=torch.bool)
    present[2, 30:] = False
    cut = Label(buy=1, sell=2, scale="raw", winsorize=0.1).scaled(returns, present, groups())
    left = Label(buy=1, sell=2, scale="raw", drop_extreme=0.1).scaled(returns, present, groups())
    for day, (row, there) in enumerate(zip(returns, present, strict=True)):
        low, high = np.quantile(row[there], [0.1, 0.9])
        np.testing.assert_allclose(cut[day][there], row[there].numpy().clip(low, high), rtol=1e-5)
        assert cut[day][~there].isnan().all()
        n_left = int(left[day].isfinite().sum())
        assert n_left == {40: 36, 30: 28}[int(there.sum())]
        assert left[day].nan_to_num(0).abs().max() <= row.abs().max()


def test_neutral_labels_are_less_the_mean_of_the_sectors_of_that_day(small_market: Market) -> None:
    """Against pandas' groupby, on every day, with sectors that change and a stock without one."""
    config = small_config("label.neutral=true", "label.scale=raw")
    data = make_data(config, small_market, changing_concepts)
    table, dates = concept_table(small_market), small_market.dates
    since, until = table["from"].fillna(dates[0]), table["to"].fillna(dates[-1])
    for segment in ("train", "valid", "test"):
        for day in data.days(segment):
            date = dates[int(day.date)]
            sectors = table[(since <= date) & (date <= until)].set_index("symbol")["concept"]
            stocks = [small_market.symbols[stock] for stock in day.stocks]
            returns = pd.Series(day.returns.double(), stocks)
            of = sectors.reindex(stocks).fillna("none")
            expected = returns - returns.groupby(of).transform("mean")
            np.testing.assert_allclose(day.labels, expected, rtol=1e-4, atol=1e-6)


def test_extreme_returns_have_no_label() -> None:
    """5 % of 40 stocks: one at either end; nothing else changes."""
    returns = [float(i) for i in range(40)]
    left = label_row([*returns[20:], *returns[:20]], drop_extreme=0.05)
    assert [i for i, value in enumerate(left) if value != value] == [19, 20]
    assert left[0] == 20
    assert label_row([1.0, 2.0, 3.0], drop_extreme=0.05) == [1.0, 2.0, 3.0]  # too few to drop one


def test_neutral_labels_of_sectors_are_less_their_mean() -> None:
    """Sectors {0, 1, 2} and {3, 4}; stocks 5 and 6 have none and are a group of their own."""
    row = label_row([1, 2, 6, 5, 7, 4, 2], groups([0, 1, 2], [3, 4]), neutral=True)
    assert row == pytest.approx([-2, -1, 3, -1, 1, 1, -1], abs=1e-6)


def test_neutral_labels_of_concepts_that_overlap_are_residuals() -> None:
    """Against numpy's least squares, with a constant in the groups, a missing return, two days."""
    torch.manual_seed(0)
    returns = torch.randn(2, 12)
    returns[0, 3] = torch.nan
    concepts = groups([0, 1, 2, 3, 4], [3, 4, 5, 6, 7], [8, 9, 10, 11])
    present = torch.ones(2, 12, dtype=torch.bool)
    labels = Label(buy=1, sell=2, scale="raw", neutral=True).scaled(returns, present, concepts)
    for row, label in zip(returns, labels, strict=True):
        known = row.isfinite()
        x = concepts.on(0, torch.arange(12)[known]).double().numpy()
        y = row[known].double().numpy()
        expected = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        np.testing.assert_allclose(label[known], expected, atol=1e-6)
        assert torch.equal(label.isfinite(), known)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"winsorize": 0.5}, "need 0 <= label.winsorize < 0.5, got 0.5"),
        ({"drop_extreme": 1.0}, "need 0 <= label.drop_extreme < 1, got 1.0"),
        ({"neutral": True}, "label.neutral needs concepts"),
    ],
)
def test_wrong_label_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        label_row([1.0, 2.0], **options)


def test_percentile_ranks_are_those_of_pandas() -> None:
    """With ties and missing values, along the last dimension."""
    torch.manual_seed(0)
    x = torch.randn(3, 4, 50).mul(5).round()
    x[torch.rand(x.shape) < 0.2] = torch.nan
    expected = pd.DataFrame(x.reshape(12, 50).numpy().copy()).rank(axis=1, pct=True)
    np.testing.assert_allclose(percentile_ranks(x).reshape(12, 50), expected, rtol=1e-6)


# scaling


class Column(FeatureWindows):
    """One column [D, S] of a market, for one day."""

    statistics_shape = (1, 1)

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __call__(self, day: int, stocks: Tensor) -> Tensor:
        return self.values[day, stocks].view(1, -1, 1)

    def columns(self, days: Tensor) -> Iterator[Tensor]:
        yield self.values[days]

    def to(self, device: torch.device) -> "Column":
        return self


def scale_column(scaler: Scaler, values: Tensor, day: int) -> Tensor:
    column = Column(values)
    scaler.fit(column, range(20), values == values)
    return scaler(column(day, torch.arange(values.shape[1])))[0, :, 0]


def test_each_scaler_by_its_definition() -> None:
    torch.manual_seed(0)
    values = torch.randn(30, 50).exp()
    values[25, 4] = torch.nan
    train, today = values[:20].double().numpy(), values[25].double().numpy()
    known = ~np.isnan(today)
    expected = {
        ZScore(clip=2.0, max_rows=10_000): ((today - train.mean()) / train.std()).clip(-2, 2),
        MinMax(max_rows=10_000): ((today - train.min()) / np.ptp(train)).clip(0, 1),
        DayZScore(clip=2.0): stats.zscore(today, ddof=1, nan_policy="omit").clip(-2, 2),
        DayRank(): (pd.Series(today).rank(pct=True).to_numpy() - 0.5) * 3.46,
    }
    for scaler, wanted in expected.items():
        scaled = scale_column(scaler, values, day=25)
        np.testing.assert_allclose(scaled[known], wanted[known], rtol=1e-4, atol=1e-5)
        assert scaled[4] == 0


@pytest.mark.parametrize("unit", [1e-30, 1.0, 1e30])
def test_scaling_within_a_day_does_not_depend_on_the_unit(unit: float) -> None:
    """float32 holds neither the square of 1e30 nor that of 1e-30."""
    torch.manual_seed(0)
    values = torch.randn(1, 50)
    expected = stats.zscore(values[0].double().numpy(), ddof=1).clip(-2, 2)
    found = DayZScore(clip=2.0)((values * unit).unsqueeze(2))[0, :, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_stocks", [5, 7, 300])
def test_a_column_that_is_constant_among_the_stocks_of_a_day_is_zero(n_stocks: int) -> None:
    """The rounded mean of equal values is not always that value."""
    for value in (0.1, 3.3, 1e30):
        x = torch.full((1, n_stocks, 1), value)
        x[0, 0] = torch.nan
        assert DayZScore(clip=3.0)(x).count_nonzero() == 0


def test_daily_scalers_see_each_day_of_a_window_by_itself() -> None:
    """Scaling a window of three days is scaling its days one at a time."""
    torch.manual_seed(0)
    window = torch.randn(3, 9, 2) * torch.tensor([1.0, 50.0, 0.1])[:, None, None] + 7
    window[1, 4, 0] = torch.nan
    for scaler in (DayZScore(clip=9.0), DayRank()):
        whole = scaler(window)
        for day in range(3):
            assert torch.equal(whole[day : day + 1], scaler(window[day : day + 1]))
            for feature in range(2):
                alone = scaler(window[day : day + 1, :, feature : feature + 1])
                torch.testing.assert_close(
                    whole[day : day + 1, :, feature], alone[..., 0], rtol=1e-3, atol=1e-4
                )


@pytest.mark.parametrize("value", [3.3, torch.nan, torch.inf])
def test_a_column_that_is_constant_on_the_train_days_stays_zero(value: float) -> None:
    values = torch.full((30, 5), value)
    values[25] = torch.arange(5.0)
    for scaler in (RobustZScore(3.0, 99), ZScore(3.0, 99), MinMax(99)):
        assert scale_column(scaler, values, day=25).count_nonzero() == 0
    assert scale_column(DayZScore(3.0), values, day=3).count_nonzero() == 0


@pytest.mark.parametrize("name", SCALERS)
def test_features_scaled_in_any_way_are_blind_to_the_future(name: str) -> None:
    market = instantiate(small_config().data.market)()
    row = int(market.dates.searchsorted(pd.Timestamp("2015-05-20")))
    config = small_config(f"scaler={name}", "label.winsorize=0.05", "label.drop_extreme=0.1")
    seen = [
        make_data(config, changed).days("predict").panels.day(row).features
        for changed in (market, change_after(market, row))
    ]
    assert torch.equal(*seen)
    assert seen[0].isfinite().all()
    assert seen[0].abs().max() > 0.5


def test_statistics_of_another_scaler_are_refused() -> None:
    scaler = MinMax(max_rows=10)
    with pytest.raises(InputError, match="the scaler DayRank, but this run has MinMax"):
        scaler.load_state_dict(DayRank().state_dict())


UNIT = {"kind": "RobustZScore", "center": torch.zeros(1, 1, 1), "scale": torch.ones(1, 1, 1)}


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
    scale = statistics["scale"][:, 0]
    constant = scale.isinf()  # today's close and volume, relative to themselves
    assert constant.nonzero().tolist() == [[3, 0], [3, 5]]
    np.testing.assert_allclose(scale[~constant], 1.4826 * (mad[~constant] + 1e-12), rtol=1e-5)


def test_scaled_features_are_clipped_and_finite() -> None:
    scaler = RobustZScore(clip=3.0, max_rows=10)
    scaler.load_state_dict(UNIT)
    x = torch.tensor([1.0, -9.0, 9.0, torch.nan, torch.inf, -torch.inf]).view(1, -1, 1)
    assert scaler(x).flatten().tolist() == [1.0, -3.0, 3.0, 0.0, 0.0, 0.0]


def test_moving_a_scaler_leaves_the_original_where_it_is() -> None:
    scaler = RobustZScore(clip=3.0, max_rows=10)
    scaler.load_state_dict(UNIT)
    moved = scaler.to(torch.device("meta"))
    assert moved.state_dict()["center"].is_meta
    assert not scaler.state_dict()["center"].is_meta


def test_a_part_of_the_days_is_spread_over_all_of_them() -> None:
    """Of a column that grows by 1 a day the median of every fifth of 100 days is about 50."""
    values = torch.arange(120.0)[:, None].expand(120, 10)
    scaler = RobustZScore(clip=3.0, max_rows=200)  # of 1000 rows
    scaler.fit(Column(values), range(100), values == values)
    assert scaler.state_dict()["center"].item() == pytest.approx(49.5, abs=3)


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
