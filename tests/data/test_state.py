"""Market state: hand-worked numbers, every source, nothing from the future, what a model gets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import fit, make_data, read_frame, real_data, small_config, small_frame, write_qlib
from markets import change_after, market_frame
from scipy import stats
from torch import Tensor, nn

from alphazoo import StockModel
from alphazoo.config import compose, instantiate
from alphazoo.data import state as state_module
from alphazoo.data.audit import find_look_ahead
from alphazoo.data.days import DayBatch
from alphazoo.data.state import COLUMNS, DAYS, MarketState
from alphazoo.errors import InputError
from alphazoo.market.check import check_market
from alphazoo.market.market import Market

CLOSE = [100.0, 110.0, 99.0, 99.0, 108.9, 98.01, 98.01]  # returns 0.1 -0.1 0 0.1 -0.1 0
VOLUME = [10.0, 30.0, 20.0, 40.0, 10.0, 30.0, 20.0]


def with_indices(bad_prices: str = "missing", **indices: Mapping[str, list[float]]) -> Market:
    """A market of one stock, with the indices given."""
    n_days = len(next(iter(indices.values()))["close"]) if indices else 7
    fields = ("open", "high", "low", "close", "volume")
    return Market.from_arrays(
        name="toy",
        dates=pd.bdate_range("2020-01-01", periods=n_days),
        symbols=["A"],
        fields={name: np.ones((n_days, 1), dtype=np.float32) for name in fields},
        members=np.ones((n_days, 1), dtype=bool),
        indices={
            symbol: {name: np.array(values, dtype=np.float32) for name, values in series.items()}
            for symbol, series in indices.items()
        },
        bad_prices=bad_prices,
    )


def table_of(market: Market) -> pd.DataFrame:
    """The unscaled state, a column per name."""
    state = MarketState.of(market)
    return pd.DataFrame(state.panel, index=market.dates, columns=state.columns)


# formulas


def test_the_state_by_hand() -> None:
    """On day 4 of the returns nan 0.1 -0.1 0 and volumes 10 30 20 40; on day 7 of the last five."""
    table = table_of(with_indices(X={"close": CLOSE, "volume": VOLUME}))
    fourth, last = table.iloc[3], table.iloc[6]
    assert fourth["X_return"] == pytest.approx(0, abs=1e-6)
    assert fourth["X_return_mean5"] == pytest.approx(0, abs=1e-6)
    assert fourth["X_return_std5"] == pytest.approx(0.1, rel=1e-5)
    assert fourth["X_turnover_mean5"] == pytest.approx(25 / 40)
    assert fourth["X_turnover_std5"] == pytest.approx((500 / 3) ** 0.5 / 40)
    assert last["X_return_mean5"] == pytest.approx(-0.1 / 5, rel=1e-4)  # of -0.1 0 0.1 -0.1 0
    assert last["X_turnover_mean5"] == pytest.approx(24 / 20)  # of 20 40 10 30 20
    assert last["X_return_mean10"] == pytest.approx(0, abs=1e-6)  # of all there is
    assert last["X_turnover_mean60"] == pytest.approx(160 / 7 / 20)


def test_a_state_is_known_as_soon_as_there_are_days_for_it() -> None:
    table = table_of(with_indices(X={"close": CLOSE, "volume": VOLUME}))
    first = [f"X_turnover_mean{n}" for n in DAYS]
    assert table.columns[table.iloc[0].notna()].tolist() == first
    second = [name for name in table.columns if "return_std" not in name]
    assert table.columns[table.iloc[1].notna()].tolist() == second
    assert table.iloc[2:].notna().all(axis=None)


def random_series(seed: int, n_days: int = 150) -> dict[str, list[float]]:
    random = np.random.default_rng(seed)
    close = 3000 * np.exp(np.cumsum(0.02 * random.standard_normal(n_days)))
    volume = random.integers(10**9, 10**11, n_days).astype(float)
    close[random.random(n_days) < 0.05] = np.nan
    volume[random.random(n_days) < 0.05] = np.nan
    return {"close": close.tolist(), "volume": volume.tolist()}


def test_the_state_of_three_indices_is_that_of_pandas() -> None:
    """Days missing, columns in the order of the published data."""
    indices = {symbol: random_series(seed) for seed, symbol in enumerate("XYZ")}
    found = table_of(with_indices(**indices))
    expected = {}
    for symbol, series in indices.items():
        close, volume = (pd.Series(series[name]) for name in ("close", "volume"))
        change = close / close.shift(1) - 1
        expected[f"{symbol}_return"] = change
        for n in (5, 10, 20, 30, 60):
            of_return, of_volume = (x.rolling(n, min_periods=1) for x in (change, volume))
            expected[f"{symbol}_return_mean{n}"] = of_return.mean()
            expected[f"{symbol}_return_std{n}"] = of_return.std()
            expected[f"{symbol}_turnover_mean{n}"] = of_volume.mean() / volume
            expected[f"{symbol}_turnover_std{n}"] = of_volume.std() / volume
    assert found.shape == (150, 63)
    assert list(found) == list(expected)
    np.testing.assert_allclose(found, pd.DataFrame(expected), rtol=1e-4, atol=1e-6)


def test_turnover_is_the_amount_where_there_is_one() -> None:
    series = {"close": CLOSE, "volume": VOLUME}
    plain = table_of(with_indices(X=series))
    amount = [5.0, 4.0, 3.0, 2.0, 1.0, 2.0, 3.0]
    found = table_of(with_indices(X={**series, "amount": amount}))
    swapped = table_of(with_indices(X={**series, "volume": amount}))
    pd.testing.assert_frame_equal(found, swapped)
    assert not found["X_turnover_mean5"].equals(plain["X_turnover_mean5"])


def test_a_day_without_turnover_is_a_missing_one() -> None:
    """Day 3 of the volumes 10 30 0 40; its return is known all the same."""
    table = table_of(with_indices(X={"close": CLOSE, "volume": [10, 30, 0, *VOLUME[3:]]}))
    third = table.iloc[2]
    assert third[third.isna()].index.tolist() == [x for x in table if "turnover" in x]
    assert table.iloc[3]["X_turnover_mean5"] == pytest.approx(80 / 3 / 40)


# Of SH000300 in the file that the authors of MASTER published (data/csi_market_information.csv):
# return, its mean and standard deviation over 5 days, each scaled by a center and scale of its own.
PUBLISHED = {
    "2014-09-01": (0.61464816, 0.10080238, -0.48080194),
    "2014-09-02": (1.1439571, 0.7804267, -0.5379946),
    "2014-09-03": (0.8012619, 1.032303, -0.56254196),
    "2014-09-04": (0.60882646, 1.4876763, -1.3760977),
    "2014-09-05": (0.8117049, 1.4175344, -1.4098698),
    "2014-09-09": (-0.181201, 1.1317108, -0.94197464),
    "2014-09-10": (-0.5005616, 0.5410935, -0.7535262),
    "2014-09-11": (-0.3633528, 0.122830465, -0.77579474),
    "2014-09-12": (0.5136605, 0.08865229, -0.80964106),
    "2014-09-15": (-0.077111214, -0.23055968, -1.1187837),
    "2014-09-16": (-1.805041, -0.81375015, -0.34197262),
    "2014-09-17": (0.43421736, -0.47803098, -0.20178086),
    "2014-09-22": (-1.7354034, -0.8346051, 0.24677289),
}


def test_the_state_of_csi300_is_the_published_one_but_for_its_scaling() -> None:
    folder = real_data("csi300")
    table = table_of(Market.from_qlib(folder, universe="csi300", indices=["SH000300"]))
    ours = table.loc[list(PUBLISHED), [f"SH000300_{name}" for name in COLUMNS[:3]]]
    for column, scaled in zip(ours, zip(*PUBLISHED.values(), strict=True), strict=True):
        assert stats.pearsonr(ours[column], scaled)[0] == pytest.approx(1, abs=1e-9)


# sources


def test_indices_of_a_table_leave_the_universe() -> None:
    frame = small_frame()
    market = Market.from_table(frame, columns={"adjusted_close": "adjusted_close"}, indices=["ST7"])
    assert market.members.all(dim=0).tolist() == [True] * 7 + [False]
    assert not market.members[:, 7].any()
    raw = frame[frame["symbol"] == "ST7"]
    np.testing.assert_allclose(market.indices["ST7"]["close"], raw["close"] * 0.5, rtol=1e-6)
    np.testing.assert_allclose(market.indices["ST7"]["volume"], raw["volume"] * 2, rtol=1e-6)
    amount = Market.from_table(
        frame.assign(amount=frame["close"] * 3), extra=["amount"], indices=["ST7"]
    )
    np.testing.assert_allclose(amount.indices["ST7"]["amount"], raw["close"] * 3, rtol=1e-6)


def test_indices_of_a_qlib_folder_are_in_no_universe(tmp_path: Path) -> None:
    frame = small_frame()
    folder = write_qlib(tmp_path, frame)
    late = np.concatenate([[100], np.arange(30)]).astype("<f4")
    late.tofile(folder / "features" / "st6" / "amount.day.bin")
    market = Market.from_qlib(folder, universe="some", indices=["ST7", "st6"])
    assert market.symbols == ("ST0", "ST1")
    for name, values in market.indices["ST7"].items():
        raw = frame.loc[frame["symbol"] == "ST7", name]
        np.testing.assert_array_equal(values, raw.to_numpy(np.float32))
    assert {symbol: [*series] for symbol, series in market.indices.items()} == {
        "ST7": ["close", "volume"],
        "st6": ["close", "volume", "amount"],
    }
    amount = market.indices["st6"]["amount"]
    assert amount.isfinite().nonzero().squeeze(1).tolist() == list(range(100, 130))


def test_the_index_of_the_synthetic_market_is_the_mean_of_its_stocks() -> None:
    market = instantiate(small_config("data.indices=[MARKET]").data.market)()
    close = market.indices["MARKET"]["close"]
    assert torch.equal(close, market.benchmark)
    volume = market.fields["volume"].nansum(dim=1)
    torch.testing.assert_close(market.indices["MARKET"]["volume"], volume)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["data=qlib", "data.indices=[st77]"], "no folder .*features/st77; did you mean 'ST7'?"),
        (
            ["data=table", "data.indices=[ST77]"],
            "no rows of 'ST77' .data.indices.; did you mean 'ST7'?",
        ),
        (["data.indices=[MARKT]"], "unknown index 'MARKT'; did you mean 'MARKET'?"),
        (["data.indices=MARKET"], "data.indices must be a list of symbols, got 'MARKET'"),
        (["data.indices=null"], "data.indices must be a list of symbols, got None"),
        (["data.indices=[MARKET,MARKET]"], "data.indices must not have duplicate"),
        (["data=table", "data.indices=[300]"], "no rows of '300' .data.indices."),
    ],
)
def test_an_index_that_is_not_there_is_named(
    options: list[str], message: str, tmp_path: Path
) -> None:
    write_qlib(tmp_path / "qlib", small_frame())
    small_frame().to_parquet(tmp_path / "prices.parquet")
    where = {
        "data=qlib": [f"data.path={tmp_path}/qlib", "data.universe=all", "data.benchmark=null"],
        "data=table": [f"data.path={tmp_path}/prices.parquet"],
    }
    config = compose(*options, *where.get(options[0], []))
    with pytest.raises(InputError, match=message):
        instantiate(config.data.market)()


def test_a_qlib_index_needs_close_and_volume(tmp_path: Path) -> None:
    folder = write_qlib(tmp_path, small_frame())
    (folder / "features" / "st7" / "volume.day.bin").unlink()
    with pytest.raises(InputError, match="no file .*st7/volume.day.bin"):
        Market.from_qlib(folder, universe="some", indices=["ST7"])


def test_series_of_an_index_must_fit_the_market() -> None:
    with pytest.raises(InputError, match=r"index 'X' lacks \['volume'\]; it has \['close'\]"):
        with_indices(X={"close": CLOSE})
    series = {"close": CLOSE, "volume": VOLUME[1:]}
    with pytest.raises(InputError, match=r"volume of index 'X' is float32 \(6,\), expected .*\(7,"):
        with_indices(X=series)


def test_bad_values_of_an_index_are_listed_and_missing(caplog: pytest.LogCaptureFixture) -> None:
    series = {
        "close": [*CLOSE[:-1], -1.0],
        "volume": [*VOLUME[:-1], np.inf],
        "amount": [-5.0, *VOLUME[1:]],
    }
    market = with_indices(X=series)
    assert "3 non-positive or infinite values" in caplog.text
    assert "close -1.0 of X on 2020-01-09" in caplog.text
    assert [x.isnan().nonzero().tolist() for x in market.indices["X"].values()] == [
        [[6]],
        [[6]],
        [[0]],
    ]
    with pytest.raises(InputError, match="set bad_prices=missing"):
        with_indices("refuse", X=series)


def test_the_check_says_what_is_known_of_indices() -> None:
    lines = check_market(with_indices(X={"close": CLOSE, "volume": [0.0, *VOLUME[1:]]}))
    assert lines["index X"] == "close on 7 of 7 days, volume on 6 of 7 days"
    assert check_market(with_indices())["indices"] == "none"


# no look-ahead


def test_the_state_does_not_see_the_future(small_market: Market) -> None:
    day = 70
    here = MarketState.of(small_market).panel.nan_to_num()
    there = MarketState.of(change_after(small_market, day)).panel.nan_to_num()
    past = MarketState.of(small_market.until(day)).panel.nan_to_num()
    assert torch.equal(here[: day + 1], there[: day + 1])
    assert torch.equal(here[: day + 1], past)
    assert not (here[day + 1] == there[day + 1]).any()


@pytest.mark.parametrize("source", ["qlib", "table"])
def test_sources_do_not_bring_the_future_into_the_state(source: str, tmp_path: Path) -> None:
    frame = market_frame()
    changed, later = frame.copy(), frame["date"] > frame["date"].unique()[70]
    prices = ["open", "high", "low", "close", "vwap", "adjusted_close", "volume"]
    changed.loc[later, prices] = 1 + 9 * np.random.default_rng(0).random((later.sum(), len(prices)))
    here, there = (
        MarketState.of(read_frame(source, table, tmp_path / name)).panel.nan_to_num()
        for name, table in (("before", frame), ("after", changed))
    )
    assert torch.equal(here[:71], there[:71])
    assert not torch.equal(here, there)


def test_the_audit_names_a_state_that_looks_ahead(
    small_market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = instantiate(small_config().features)
    assert find_look_ahead(small_market, features) == {}
    honest = state_module._index_state

    def tomorrow(series: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([honest(series)[:, :20], series["close"].roll(-1).unsqueeze(1)], dim=1)

    monkeypatch.setattr(state_module, "_index_state", tomorrow)
    (symbol,) = small_market.indices
    assert find_look_ahead(small_market, features).keys() == {f"{symbol}_{COLUMNS[-1]}"}


def test_days_without_indices_do_not_change_with_them() -> None:
    with_state, without = (
        make_data(small_config(f"data.indices={indices}")).days("test")[0]
        for indices in ("[MARKET]", "[]")
    )
    assert without.market.shape == (0,)
    for name in ("features", "labels", "returns", "stocks", "concepts", "date"):
        assert torch.equal(
            getattr(with_state, name).nan_to_num(), getattr(without, name).nan_to_num()
        )


# scaling


def test_a_day_has_its_state_scaled_by_the_train_days(small_market: Market) -> None:
    data = make_data(small_config(), small_market)
    day = data.days("valid")[3]
    values = MarketState.of(small_market).panel.double().numpy()
    train = values[data.segments["train"]]
    scale = stats.median_abs_deviation(train, axis=0, nan_policy="omit", scale=1 / 1.4826)
    expected = (values[int(day.date)] - np.nanmedian(train, axis=0)) / scale
    np.testing.assert_allclose(day.market, expected.clip(-3, 3), rtol=1e-4, atol=1e-4)
    assert day.market.dtype == torch.float32
    assert day.market.abs().max() > 0.1


@pytest.mark.parametrize("nothing", [0.0, np.nan])
def test_an_index_without_volume_or_history_has_zeros_and_is_named(
    nothing: float, caplog: pytest.LogCaptureFixture
) -> None:
    """ST7 is listed in the last month, ST6 never has a volume: its returns are known all the same.

    The volume of a stock would be its suspension.
    """
    caplog.set_level("INFO")
    frame = small_frame()
    late = (frame["symbol"] == "ST7") & (frame["date"] < "2015-06-01")
    frame.loc[frame["symbol"] == "ST6", "volume"] = nothing
    data = make_data(small_config(), Market.from_table(frame[~late], indices=["ST6", "ST7"]))
    state = pd.Series(data.days("test")[0].market, index=MarketState.of(data.market).columns)
    assert state.index[state == 0].tolist() == [
        *(name for name in state.index if "ST6_turnover" in name),
        *(name for name in state.index if "ST7" in name),
    ]
    for _ in range(2):
        data.days("test")
    said = "unknown or constant on the training days are set to 0: ST6_turnover_mean5"
    assert caplog.text.count(said) == 1


def test_a_history_shorter_than_the_longest_window_has_a_state() -> None:
    frame = small_frame(n_days=40)
    config = small_config(
        "features.window=5",
        "data.train=['2015-01-01','2015-01-31']",
        "data.valid=['2015-02-01','2015-02-12']",
        "data.test=['2015-02-13',null]",
    )
    days = make_data(config, Market.from_table(frame, indices=["ST7"])).days("test")
    assert all(day.market.abs().max() > 0 for day in days)


# what a model gets


class Gated(StockModel):
    """A linear score of today's features, each weighed by the state of the market."""

    def __init__(self, *, n_features: int, n_market: int, lr: float, weight_decay: float) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        self.gate = nn.Linear(n_market, n_features)
        self.head = nn.Linear(n_features, 1)

    def forward(self, day: DayBatch) -> Tensor:
        weights = self.gate(day.market).softmax(dim=0)  # [F]
        scores: Tensor = self.head(weights * day.features[:, -1])
        return scores.squeeze(-1)


def gated_config(folder: Path, *overrides: str) -> Any:
    config = small_config("data.indices=[MARKET]", f"folder={folder}", *overrides)
    config.model = {
        "_target_": "test_state.Gated",
        "n_features": "${len:${features.columns}}",
        "n_market": "${len:${market_columns:${data.indices}}}",
        "lr": 1e-2,
        "weight_decay": 0.0,
    }
    return config


def test_a_model_that_reads_the_state_trains(tmp_path: Path) -> None:
    config = gated_config(tmp_path)
    untrained = instantiate(config.model)
    assert untrained.gate.in_features == 21
    run = fit(config)
    assert run.day.market.shape == (21,)
    assert run.model(run.day).isfinite().all()
    other = run.day._replace(market=-run.day.market)
    assert not torch.equal(run.model(other), run.model(run.day))


def test_statistics_of_the_state_travel_in_the_checkpoint(tmp_path: Path) -> None:
    run = fit(gated_config(tmp_path))
    saved = torch.load(run.last_checkpoint, weights_only=True)["MarketDataModule"]
    assert saved["market"]["indices"] == ["MARKET"]
    assert saved["market"]["scaler"]["center"].shape == (1, 1, 21)
    later = gated_config(tmp_path, "data.train=['2015-02-01', '2015-03-01']")
    refitted, restored = make_data(later), make_data(later)
    restored.load_state_dict(saved)
    assert torch.equal(restored.days("test")[0].market, run.day.market)
    assert not torch.equal(refitted.days("test")[0].market, run.day.market)


def test_a_checkpoint_of_other_indices_is_refused(tmp_path: Path) -> None:
    data = make_data(gated_config(tmp_path))
    data.days("train")
    saved = data.state_dict()
    message = r"made with data.indices=\['MARKET'\], but this run has \[\]"
    with pytest.raises(InputError, match=message):
        make_data(small_config()).load_state_dict(saved)


def test_a_checkpoint_from_before_there_was_a_state_loads() -> None:
    data = make_data(small_config())
    expected = data.days("test")[0]
    saved = data.state_dict()
    del saved["market"]
    again = make_data(small_config())
    again.load_state_dict(saved)
    day = again.days("test")[0]
    assert torch.equal(day.features, expected.features)
    assert day.market.shape == (0,)


def test_the_state_goes_to_the_device_with_the_rest() -> None:
    panels = make_data(small_config("data.indices=[MARKET]")).days("test").panels
    moved = panels.market.to(torch.device("meta"))
    assert moved.panel.is_meta
    assert moved.on(3).is_meta
    assert not panels.market.on(3).is_meta
