"""Features are computed once, extended by new days, and again where they are damaged."""

import errno
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import conftest
import pytest
import torch
from conftest import small_config
from processes import finish, start
from torch import Tensor

from alphazoo.config import instantiate
from alphazoo.errors import InputError
from alphazoo.features import store
from alphazoo.features.store import stored_panel
from alphazoo.market.market import Market

N_DAYS = 90


class Change:
    """Close and its change over three days; remembers how many days it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, fields: Mapping[str, Tensor], out: Tensor) -> None:
        close = fields["close"]
        before = torch.cat([torch.full_like(close[:3], torch.nan), close[:-3]])
        out[0], out[1] = close[-out.shape[1] :], (close - before)[-out.shape[1] :]
        self.asked.append(out.shape[1])


@pytest.fixture
def market() -> Market:
    return instantiate(small_config().data.market)().until(N_DAYS - 1)


def panel(
    folder: Path,
    market: Market,
    change: Change,
    name: str = "change",
    columns: Sequence[str] = ("close", "change"),
    code: Sequence[str | Path] = (__file__,),
) -> Tensor:
    return stored_panel(
        folder, market, name=name, columns=columns, code=code, lookback=3, compute=change
    )


def expected(market: Market) -> Tensor:
    out = torch.empty(2, *market.members.shape)
    Change()(market.fields, out)
    return out


def same(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.nan_to_num(-1), b.nan_to_num(-1))


def test_features_are_computed_once(tmp_path: Path, market: Market) -> None:
    change = Change()
    first = panel(tmp_path, market, change)
    assert same(first, expected(market))
    first.zero_()  # a copy of its own
    assert same(panel(tmp_path, market, change), expected(market))
    assert change.asked == [N_DAYS]


def other_symbols(market: Market) -> Market:
    return replace(market, symbols=market.symbols[::-1])


def other_fields(market: Market) -> Market:
    """The same values under other names, in the same order."""
    fields = {name.replace("vwap", "wap"): field for name, field in market.fields.items()}
    assert sorted(fields) != sorted(market.fields)
    return replace(market, fields=fields)


def one_value(market: Market) -> Market:
    """One volume of the first day is another."""
    volume = market.field("volume").clone()
    volume[0, 2] += 1
    return replace(market, fields={**market.fields, "volume": volume})


@pytest.mark.parametrize("change_market", [other_symbols, other_fields, one_value])
def test_another_market_is_another_entry(
    change_market: Callable[[Market], Market], tmp_path: Path, market: Market
) -> None:
    change = Change()
    panel(tmp_path, market, change)
    panel(tmp_path, change_market(market), change)
    assert change.asked == [N_DAYS] * 2
    panel(tmp_path, market, change)
    assert change.asked == [N_DAYS] * 2


def test_other_columns_names_and_code_are_other_entries(
    tmp_path: Path, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, folder, code = Change(), tmp_path / "store", tmp_path / "code.py"
    code.write_text("a formula")
    panel(folder, market, change, code=[code])
    panel(folder, market, change, code=[code], name="other")
    panel(folder, market, change, code=[code], columns=["change", "close"])
    code.write_text("another formula")
    panel(folder, market, change, code=[code])
    monkeypatch.setattr(store, "__file__", str(code))  # the store itself decides bytes, too
    panel(folder, market, change, code=[code])
    monkeypatch.setattr(torch, "__version__", "0.0")
    panel(folder, market, change, code=[code])
    assert change.asked == [N_DAYS] * 6
    assert len([*folder.iterdir()]) == 6


@pytest.mark.parametrize("other", [{"columns": ["change", "close"]}, {"code": [conftest.__file__]}])
def test_other_columns_or_code_are_other_features(
    tmp_path: Path, market: Market, other: dict[str, list[str]]
) -> None:
    change = Change()
    panel(tmp_path, market, change)
    panel(tmp_path, market, change, **other)
    assert change.asked == [N_DAYS] * 2


def test_the_code_that_stores_features_is_part_of_their_key(
    tmp_path: Path, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = Change()
    panel(tmp_path, market, change)
    monkeypatch.setattr(store, "__file__", conftest.__file__)  # as if it were another version
    panel(tmp_path, market, change)
    assert change.asked == [N_DAYS] * 2


def test_new_days_extend_what_is_there(tmp_path: Path, market: Market) -> None:
    change = Change()
    panel(tmp_path, market.until(79), change)
    assert same(panel(tmp_path, market, change), expected(market))
    assert change.asked == [80, 10]
    assert same(panel(tmp_path, market.until(79), change), expected(market.until(79)))
    assert change.asked == [80, 10]  # a shorter history needs nothing


@pytest.mark.parametrize("field", ["open", "close", "volume", "vwap"])
def test_a_revised_day_and_those_after_it_are_computed_again(
    field: str, tmp_path: Path, market: Market
) -> None:
    change = Change()
    panel(tmp_path, market, change)
    values = market.field(field).clone()
    values[70] *= 2
    revised = replace(market, fields={**market.fields, field: values})
    assert same(panel(tmp_path, revised, change), expected(revised))
    assert change.asked == [N_DAYS, 20]


class Listed:
    """Close, and whether there was one up to the day: what a window alone cannot know."""

    def __call__(self, fields: Mapping[str, Tensor], out: Tensor) -> None:
        close = fields["close"]
        out[0], out[1] = (panel[-out.shape[1] :] for panel in (close, close.isfinite().cumsum(0)))
        out[1].clamp_(max=1)


def test_a_suspended_stock_stays_listed(tmp_path: Path, market: Market) -> None:
    """Suspended to the end, for some days, from the start; each before and after the first part."""
    close = market.field("close").clone()
    close[50:, 0] = close[50:85, 1] = close[:85, 2] = close[:, 3] = torch.nan
    market = replace(market, fields={**market.fields, "close": close})
    for last in (69, 70, 82, 89):
        found = panel(tmp_path, market.until(last), Listed())  # type: ignore[arg-type]
    assert found[1, 70:, :4].tolist() == [[1, 1, float(day >= 85), 0] for day in range(70, 90)]


def cut(entry: Path) -> None:
    os.truncate(entry / "panel.f32", 99)


def flip(entry: Path) -> None:
    with (entry / "panel.f32").open("r+b") as file:
        file.seek(333)
        byte = file.read(1)
        file.seek(333)
        file.write(bytes([byte[0] ^ 1]))


def garble(entry: Path) -> None:
    (entry / "meta.json").write_text('{"shape": [1,')


@pytest.mark.parametrize("damage", [cut, flip, garble])
def test_damage_is_seen_and_mended(
    damage: object, tmp_path: Path, market: Market, caplog: pytest.LogCaptureFixture
) -> None:
    change = Change()
    panel(tmp_path, market, change)
    (entry,) = tmp_path.iterdir()
    damage(entry)  # type: ignore[operator]
    assert same(panel(tmp_path, market, change), expected(market))
    assert change.asked == [N_DAYS] * 2
    assert f"{entry} is damaged" in caplog.text


def test_a_computation_that_is_cut_off_leaves_nothing_behind(
    tmp_path: Path, market: Market
) -> None:
    def fail(fields: Mapping[str, Tensor], out: Tensor) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        panel(tmp_path, market, fail)  # type: ignore[arg-type]
    assert [file.name for file in tmp_path.glob("*/*")] == ["lock"]
    change = Change()
    assert same(panel(tmp_path, market, change), expected(market))


def test_no_room_is_one_error(
    tmp_path: Path, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"cannot store features in .*No space left on device"):
        panel(tmp_path, market, Change())
    assert [file.name for file in tmp_path.glob("*/*")] == ["lock"]


class Slow(Change):
    """Takes half a second, and adds a letter to a file."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def __call__(self, fields: Mapping[str, Tensor], out: Tensor) -> None:
        time.sleep(0.5)
        super().__call__(fields, out)
        with self.file.open("a") as file:
            file.write("x")


def _compute(folder: Path, market: Market) -> None:
    assert same(panel(folder / "store", market, Slow(folder / "computed")), expected(market))


def test_processes_at_the_same_time_compute_once(tmp_path: Path, market: Market) -> None:
    processes = [start(_compute, tmp_path, market) for _ in range(3)]
    assert [finish(process) for process in processes] == [0, 0, 0]
    assert (tmp_path / "computed").read_text() == "x"


class Deleting(Change):
    """Deletes the whole cache while the features are computed, the first times."""

    def __init__(self, folder: Path, times: int) -> None:
        super().__init__()
        self.folder, self.times = folder, times

    def __call__(self, fields: Mapping[str, Tensor], out: Tensor) -> None:
        super().__call__(fields, out)
        if len(self.asked) <= self.times:
            shutil.rmtree(self.folder)


def test_a_cache_that_is_deleted_meanwhile_is_made_again(
    tmp_path: Path, market: Market, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "cache"
    assert same(panel(folder, market, Deleting(folder, 2)), expected(market))
    assert caplog.text.count("was deleted in the meantime") == 2
    with pytest.raises(InputError, match="cannot store features in"):
        panel(tmp_path / "again", market, Deleting(tmp_path / "again", 3))


def test_a_panel_that_vanishes_before_it_is_mapped_is_made_again(
    tmp_path: Path, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    panel(folder, market, Change())
    read = store._read

    def read_and_delete(entry: Path, shape: tuple[int, int, int]) -> object:
        found = read(entry, shape)
        if found is not None:
            (entry / "panel.f32").unlink()
        monkeypatch.setattr(store, "_read", read)
        return found

    monkeypatch.setattr(store, "_read", read_and_delete)
    assert same(panel(folder, market, Change()), expected(market))
