"""Features are computed once, extended by new days, and again where they are damaged."""

import errno
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import small_config
from torch import Tensor

from alphazoo.config import instantiate
from alphazoo.data import store
from alphazoo.data.market import Market
from alphazoo.data.store import stored_panel
from alphazoo.errors import InputError

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


def panel(folder: Path, market: Market, change: Change, name: str = "change") -> Tensor:
    return stored_panel(
        folder,
        market,
        name=name,
        columns=["close", "change"],
        code=[__file__],
        lookback=3,
        compute=change,
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
    panel(tmp_path, market, change, name="other")
    panel(tmp_path, replace(market, symbols=market.symbols[::-1]), change)
    assert change.asked == [N_DAYS] * 3


def test_new_days_extend_what_is_there(tmp_path: Path, market: Market) -> None:
    change = Change()
    panel(tmp_path, market.until(79), change)
    assert same(panel(tmp_path, market, change), expected(market))
    assert change.asked == [80, 10]
    assert same(panel(tmp_path, market.until(79), change), expected(market.until(79)))
    assert change.asked == [80, 10]  # a shorter history needs nothing


def test_a_revised_day_and_those_after_it_are_computed_again(
    tmp_path: Path, market: Market
) -> None:
    change = Change()
    panel(tmp_path, market, change)
    close = market.field("close").clone()
    close[70] *= 2
    revised = replace(market, fields={**market.fields, "close": close})
    assert same(panel(tmp_path, revised, change), expected(revised))
    assert change.asked == [N_DAYS, 20]


@pytest.mark.parametrize("name", ["open", "high", "low", "volume", "vwap"])
def test_a_revision_of_any_field_is_seen(name: str, tmp_path: Path, market: Market) -> None:
    change = Change()
    panel(tmp_path, market, change)
    field = market.field(name).clone()
    field[70, 2] += 1
    panel(tmp_path, replace(market, fields={**market.fields, name: field}), change)
    assert change.asked == [N_DAYS, 20]


def test_other_columns_are_another_entry(tmp_path: Path, market: Market) -> None:
    def swapped(fields: Mapping[str, Tensor], out: Tensor) -> None:
        Change()(fields, out)
        out[:] = out.flip(0)

    given = {"name": "change", "code": [__file__], "lookback": 3}
    for columns, compute in ((["close", "change"], Change()), (["change", "close"], swapped)):
        found = stored_panel(tmp_path, market, columns=columns, compute=compute, **given)
    assert same(found, expected(market).flip(0))
    assert len([*tmp_path.iterdir()]) == 2


def test_other_code_is_another_entry(
    tmp_path: Path, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the features, of the store itself, or another version of torch."""
    change, code = Change(), tmp_path / "code.py"
    given = {"name": "change", "columns": ["close", "change"], "code": [code], "lookback": 3}

    def ask() -> int:
        stored_panel(tmp_path / "kept", market, compute=change, **given)
        return len(change.asked)

    code.write_text("x = 1")
    assert [ask(), ask()] == [1, 1]
    code.write_text("x = 2")
    assert [ask(), ask()] == [2, 2]
    other = tmp_path / "store.py"
    other.write_text(Path(store.__file__).read_text() + "# changed")
    monkeypatch.setattr(store, "__file__", str(other))
    assert [ask(), ask()] == [3, 3]
    monkeypatch.setattr(torch, "__version__", "9.9")
    assert [ask(), ask()] == [4, 4]


def test_a_field_of_another_name_is_another_entry(tmp_path: Path, market: Market) -> None:
    change = Change()
    panel(tmp_path, market, change)
    fields = {name.replace("vwap", "vwaq"): field for name, field in market.fields.items()}
    panel(tmp_path, replace(market, fields=fields), change)
    assert change.asked == [N_DAYS, N_DAYS]


def test_the_day_before_an_extension_has_the_last_known_values(
    tmp_path: Path, market: Market
) -> None:
    """Stock 1 has no price in the last 40 days, stock 2 never had one."""
    fields = {name: field.clone() for name, field in market.fields.items()}
    for field in fields.values():
        field[50:, 1] = field[:, 2] = torch.nan
    market = replace(market, fields=fields)
    seen: list[Tensor] = []

    def look(given: Mapping[str, Tensor], out: Tensor) -> None:
        seen.append(given["close"])
        Change()(given, out)

    for days in (79, N_DAYS - 1):
        panel(tmp_path, market.until(days), look)  # type: ignore[arg-type]
    close, recent = market.field("close"), seen[1]
    assert same(recent[1:], close[80 - 3 :])  # what three days before the first new one need
    assert recent[0, 1] == close[49, 1]
    assert recent[0, 2].isnan()
    assert torch.equal(recent[0, 3:], close[76, 3:])


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


COMPUTE = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_store import Change, expected, panel, same
from conftest import small_config
from alphazoo.config import instantiate

class Slow(Change):
    def __call__(self, fields, out):
        time.sleep(0.5)
        super().__call__(fields, out)
        with open(Path(sys.argv[1]) / "computed", "a") as file:
            file.write("x")

market = instantiate(small_config().data.market)()
assert same(panel(Path(sys.argv[1]) / "store", market, Slow()), expected(market))
"""


def test_processes_at_the_same_time_compute_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", COMPUTE, str(tmp_path), str(Path(__file__).parent)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert (tmp_path / "computed").read_text() == "x"
