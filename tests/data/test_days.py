"""Days and segments: one date per batch, every stock of it, no label across a border."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import lightning as L
import pandas as pd
import pytest
import torch
from conftest import Run, fit, make_data, small_config, small_frame
from markets import changing_concepts, concept_table

from alphazoo import Alpha360, Label, RobustZScore
from alphazoo.config import instantiate
from alphazoo.data.days import DayBatch, Days
from alphazoo.data.module import MarketDataModule
from alphazoo.data.scaling import Scaler
from alphazoo.data.segments import split_days
from alphazoo.errors import InputError
from alphazoo.market.concept_sources import no_concepts
from alphazoo.market.concepts import Concepts
from alphazoo.market.market import Market

CALENDAR = pd.bdate_range("2020-01-01", "2022-12-30")


@pytest.fixture
def data(small_market: Market) -> MarketDataModule:
    return make_data(small_config(), small_market, changing_concepts)


def test_a_batch_is_one_day_with_every_present_stock(data: MarketDataModule) -> None:
    loaders = (data.train_dataloader, data.val_dataloader, data.test_dataloader)
    for loader, segment in zip(loaders, ("train", "valid", "test"), strict=True):
        seen = []
        for day in loader():
            row = int(day.date)
            seen.append(row)
            assert day.date.shape == ()
            assert day.stocks.tolist() == data.market.present[row].nonzero()[:, 0].tolist()
            assert day.features.shape == (len(day.stocks), 20, 6)
            assert day.concepts.shape == (len(day.stocks), 2)
        assert sorted(seen) == list(data.segments[segment])


def test_a_day_has_its_members_whatever_comes_before_and_after(data: MarketDataModule) -> None:
    """ST3 leaves after row 49, ST2 enters on row 35; ST1 is suspended on rows 40 to 43."""
    data.days("predict")
    panels = data.days("train").panels

    def numbers(row: int) -> list[int]:
        return [stock for stock in panels.day(row).stocks.tolist() if stock < 10]

    assert numbers(34) == [0, 1, 3, 4, 5, 8, 9]
    assert numbers(35) == [0, 1, 2, 3, 4, 5, 8, 9]  # ST2 was none the day before
    assert numbers(39) == [0, 1, 2, 3, 4, 5, 8, 9]  # ST1 has no return from here
    assert panels.day(39).returns[1].isnan()
    assert numbers(42) == [0, 2, 3, 4, 5, 8, 9]
    assert numbers(44) == [0, 1, 2, 3, 4, 5, 8, 9]
    assert numbers(49) == [0, 1, 2, 3, 4, 5, 8, 9]
    assert panels.day(49).returns[3].isfinite()  # ST3 is no member when it is bought
    assert numbers(50) == [0, 1, 2, 4, 5, 8, 9]


def test_a_day_has_the_concepts_of_that_day(data: MarketDataModule) -> None:
    data.setup()
    table, checked = concept_table(data.market), 0
    for segment in ("train", "valid", "test", "predict"):
        for day in data.days(segment):
            date = data.market.dates[int(day.date)]
            holds = table[(table["from"].isna() | (table["from"] <= date))]
            holds = holds[holds["to"].isna() | (date <= holds["to"])]
            of = dict(zip(holds["symbol"], holds["concept"], strict=True))
            names = [of.get(data.market.symbols[stock]) for stock in day.stocks]
            expected = [[float(name == concept) for concept in "AB"] for name in names]
            assert day.concepts.tolist() == expected
            checked += len(of)
    assert checked > 900


def test_train_days_are_shuffled_by_the_seed(data: MarketDataModule) -> None:
    def order(seed: int) -> list[int]:
        torch.manual_seed(seed)
        return [int(day.date) for day in data.train_dataloader()]

    assert order(0) == order(0) != order(1)
    assert [int(day.date) for day in data.val_dataloader()] == list(data.segments["valid"])


def test_a_batch_has_the_numbers_of_its_day(data: MarketDataModule) -> None:
    day = data.days("valid")[3]
    row, close = int(day.date), data.market.fields["close"]
    expected = close[row + 2, day.stocks] / close[row + 1, day.stocks] - 1
    torch.testing.assert_close(day.returns, expected, equal_nan=True)
    statistics = data.scaler.state_dict()
    today = close[row, day.stocks]
    for lag, field in ((0, 1), (7, 3)):  # open today, low a week ago
        name = data.features.columns[field]
        raw = data.market.fields[name][row - lag, day.stocks] / today
        scaled = (raw - statistics["center"][19 - lag, 0, field]) / statistics["scale"][
            19 - lag, 0, field
        ]
        expected = scaled.clamp(-3, 3).nan_to_num()
        torch.testing.assert_close(day.features[:, 19 - lag, field], expected)


def test_no_label_reaches_beyond_its_segment(data: MarketDataModule) -> None:
    data.setup()
    for name, end in (("train", "2015-04-15"), ("valid", "2015-05-15")):
        last = data.segments[name][-1]
        assert data.market.dates[last + data.label.sell] <= pd.Timestamp(end)
        assert data.market.dates[last + data.label.sell + 1] > pd.Timestamp(end)


def test_predict_days_reach_the_newest_without_a_label(data: MarketDataModule) -> None:
    *_, newest = data.predict_dataloader()
    assert int(newest.date) == len(data.market.dates) - 1
    assert newest.labels.isnan().all()
    assert newest.features.isfinite().all()


def test_days_with_few_stocks_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    frame = small_frame()
    few = pd.to_datetime(["2015-03-02", "2015-03-03"])
    thin = frame["date"].isin(few) & (frame["symbol"] != "ST0")
    data = make_data(small_config(), Market.from_table(frame[~thin]))
    data.setup()
    dates = data.market.dates[data.segments["train"]]
    assert not dates.isin(few).any()
    assert "omitted: 2 with fewer than 2 stocks" in caplog.text


def test_a_late_start_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    config = small_config("data.train=[2012-01-01,2015-04-15]")
    make_data(config, Market.from_table(small_frame())).setup()
    assert caplog.text.count("data.train starts with the data, on 2015-01-") == 1
    assert "data.valid starts" not in caplog.text


def test_days_with_few_stocks_are_not_predicted_either(data: MarketDataModule) -> None:
    data.min_stocks = int(data.setup() or data.market.present.sum(dim=1).max())
    counts = data.market.present.sum(dim=1)
    data.predict_days(range(len(counts)))
    assert data.segments["predict"] == [
        row for row, count in enumerate(counts) if count >= data.min_stocks
    ]
    with pytest.raises(InputError, match=f"no day from .* has {data.min_stocks} members"):
        data.predict_days([int(counts.argmin())])


def test_the_embargo_of_the_data_is_kept(small_market: Market) -> None:
    plain, apart = (
        make_data(small_config(f"data.embargo={days}"), small_market) for days in (0, 4)
    )
    for data in (plain, apart):
        data.setup()
    assert apart.segments["train"][-1] == plain.segments["train"][-1] - 4
    assert apart.segments["valid"][-1] == plain.segments["valid"][-1] - 4
    assert apart.segments["test"] == plain.segments["test"]


def test_concepts_are_made_of_the_train_days(small_market: Market) -> None:
    seen: list[list[int]] = []

    def made(market: Market, train: Sequence[int]) -> Concepts:
        seen.append([*train])
        return no_concepts(market, train)

    make_data(small_config(), small_market, made).setup()
    assert seen == [[*range(22, 73)]]  # no label of theirs reaches into validation


def test_a_checkpoint_says_the_last_day_that_its_labels_reach(data: MarketDataModule) -> None:
    data.days("train")
    assert data.state_dict()["days"] == {
        "train": ["2015-02-02", "2015-04-15"],
        "valid": ["2015-04-16", "2015-05-15"],
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A fit of a small model: its checkpoint has the same of the data as that of any other."""
    folder = tmp_path_factory.mktemp("run")
    return fit(small_config("model=linear", "trainer.max_epochs=1", f"folder={folder}"))


def test_statistics_travel_in_the_checkpoint(run: Run) -> None:
    saved = torch.load(run.last_checkpoint, weights_only=True)["MarketDataModule"]
    restored = make_data(run.config)
    restored.load_state_dict(saved)
    restored.scaler.fit = None  # type: ignore[assignment]
    assert torch.equal(restored.days("test")[0].features, run.day.features)


def test_a_checkpoint_of_other_features_is_refused(run: Run) -> None:
    saved = torch.load(run.last_checkpoint, weights_only=True)["MarketDataModule"]
    other = make_data(small_config("features.window=10"))
    with pytest.raises(InputError, match="made with features.window=20, but this run has 10"):
        other.load_state_dict(saved)


def test_a_data_module_needs_no_config(small_market: Market) -> None:
    data = MarketDataModule(
        small_market,
        Alpha360(["close", "volume"], window=5),
        Label(buy=1, sell=2, scale="rank"),
        RobustZScore(clip=3.0, max_rows=10_000),
        train=["2015-02", "2015-03"],
        valid=["2015-04", "2015-04"],
        test=["2015-05", None],
        embargo=0,
        min_stocks=2,
    )
    assert data.days("train")[0].features.shape[1:] == (5, 2)


# segments


def split(embargo: int = 0, **change: object) -> dict[str, range]:
    segments = {"train": [2020, 2020], "valid": [2021, 2021], "test": [2022, None], **change}
    return split_days(CALENDAR, segments, purge=2, embargo=embargo)


def test_purge_and_embargo_leave_days_out() -> None:
    lengths = {
        name: len(CALENDAR[CALENDAR.year == year])
        for name, year in (("train", 2020), ("valid", 2021), ("test", 2022))
    }
    assert {name: len(rows) for name, rows in split().items()} == {
        name: length - 2 for name, length in lengths.items()
    }
    embargoed = split(embargo=5)
    assert len(embargoed["train"]) == lengths["train"] - 7
    assert len(embargoed["test"]) == lengths["test"] - 2


def test_segments_may_not_share_a_day() -> None:
    assert split(valid=["2021-01-01", 2021])["valid"].start == split()["train"].stop + 2
    with pytest.raises(InputError, match="data.valid=.* does not come after data.train"):
        split(valid=["2020-12-31", 2021])


def test_ends_are_dates_months_or_years() -> None:
    exact = split(train=["2020-01-01", "2020-12-31"])["train"]
    assert exact == split(train=["2020-01", "2020-12"])["train"] == split()["train"]
    assert split(train=[None, 2020])["train"] == split()["train"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": [2021, 2020]}, r"data.train=\[2021, 2020\] ends before it starts"),
        ({"valid": [2020, 2021]}, r"data.valid=.* does not come after data.train"),
        ({"test": [2019, 2019]}, r"data.test=\[2019, 2019\] has no trading day: .* 2020-01-01 to"),
        ({"valid": [2031, 2032]}, "has no trading day"),
        ({"valid": ["2021-03-01", "2021-03-02"]}, "because their labels reach beyond it"),
        ({"valid": [2021]}, r"data.valid must be \[from, to\], got \[2021\]"),
        ({"valid": "2021"}, r"data.valid must be \[from, to\], got '2021'"),
        ({"valid": ["spring", 2021]}, "data.valid: 'spring' is not a date"),
    ],
)
def test_wrong_segments_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        split(**change)


def test_a_segment_without_members_is_refused() -> None:
    frame = small_frame()
    frame["member"] = (frame["date"] < "2015-04-16") | (frame["date"] > "2015-05-15")
    market = Market.from_table(frame, columns={"member": "member"})
    with pytest.raises(InputError, match=r"data.valid: no day from 2015-04-16 .* has 2 members"):
        make_data(small_config(), market).setup()


def test_a_segment_without_labels_is_refused() -> None:
    frame = small_frame()
    odd_days = frame["date"].rank(method="dense") % 2 == 0
    late = frame["date"] >= "2015-05-16"
    market = Market.from_table(frame.assign(volume=frame["volume"].where(~(late & odd_days), 0)))
    with pytest.raises(InputError, match=r"data.test: no day from .* has a label"):
        make_data(small_config(), market).setup()


# several in one process


def with_scaler(scaler: Scaler, last: str) -> MarketDataModule:
    config = small_config(f"data.train=['2015-02-01', '{last}']")
    return instantiate(config.datamodule, scaler=scaler)


@pytest.mark.parametrize("fitted", [False, True])
def test_a_scaler_given_to_two_data_modules_is_fitted_by_each(fitted: bool) -> None:
    given = RobustZScore(clip=3.0, max_rows=10**6)
    if fitted:
        early = with_scaler(given, "2015-04-01").days("train").panels.scaler
        given.load_state_dict(early.state_dict())
    first, second = (with_scaler(given, last) for last in ("2015-03-15", "2015-04-15"))
    alone = with_scaler(RobustZScore(clip=3.0, max_rows=10**6), "2015-04-15")
    seen = [data.days("valid")[0].features for data in (first, second, alone)]
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[2])
    assert given.fitted == fitted


class Order(L.Callback):
    """Remembers the train days in their order; may fail on the third."""

    def __init__(self, fails: bool) -> None:
        self.fails = fails
        self.rows: list[int] = []

    def on_train_batch_start(self, _: object, __: object, day: DayBatch, index: int) -> None:
        self.rows.append(int(day.date))
        if self.fails and index == 2:
            raise RuntimeError("stop here")


def order_of_fit(data: MarketDataModule, seed: int, fails: bool = False) -> list[int]:
    torch.manual_seed(seed)
    order = Order(fails)
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[order],
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    try:
        trainer.fit(instantiate(small_config("model=linear").model), data)
    except RuntimeError:
        assert fails
    return order.rows


def test_a_fit_that_failed_leaves_no_seed_for_the_next_one() -> None:
    data = make_data(small_config())
    assert len(order_of_fit(data, seed=1, fails=True)) == 3
    assert order_of_fit(data, seed=2) == order_of_fit(make_data(small_config()), seed=2)


def test_the_origin_of_days_tells_panels_rows_and_statistics_apart() -> None:
    data = make_data(small_config())
    days = data.days("train")
    same, moved = Days(list(days.rows), days.panels), days.panels.to(torch.device("cpu"))
    assert days.origin == same.origin == Days(days.rows, moved).origin
    others = [Days([*days.rows[:-1], days.rows[-1] + 1], days.panels)]
    ranked = [make_data(small_config("scaler=day_rank")).days("train") for _ in range(2)]
    others += ranked  # without statistics, of two markets that may differ
    center = days.panels.scaler.state_dict()["center"]
    other_scaler = copy.deepcopy(days.panels.scaler)
    other_scaler.load_state_dict({**other_scaler.state_dict(), "center": center + 1})
    others.append(Days(days.rows, replace(days.panels, scaler=other_scaler)))
    origins = [str(days.origin), *(str(other.origin) for other in others)]
    assert len(set(origins)) == len(origins)
