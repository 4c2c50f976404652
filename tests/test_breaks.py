"""Levels that jump and prices that are frozen, found where they were planted and nowhere else."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from conftest import real_data, small_frame

from alphazoo.data import breaks
from alphazoo.data.check import check_market
from alphazoo.data.market import Market

PRICES = ("open", "high", "low", "close")
LISTS = (
    *(breaks.price_jumps, breaks.volume_jumps),
    *(breaks.frozen_closes, breaks.frozen_prices),
)


@pytest.fixture
def market() -> Market:
    """130 days of 8 stocks; volumes from 1,000 to 9,000 at random."""
    return Market.from_table(small_frame(), columns={"adjusted_close": None})


def changed(
    market: Market, fields: tuple[str, ...], stock: int, days: slice, factor: float
) -> Market:
    """Multiply some days of a stock."""
    panels = dict(market.fields)
    for name in fields:
        panels[name] = panels[name].clone()
        panels[name][days, stock] *= factor
    return replace(market, fields=panels)


def frozen(market: Market, fields: tuple[str, ...], stock: int, days: slice) -> Market:
    """Repeat the first of some days of a stock."""
    panels = dict(market.fields)
    for name in fields:
        panels[name] = panels[name].clone()
        panels[name][days, stock] = panels[name][days.start, stock].item()
    return replace(market, fields=panels)


def found(market: Market) -> list[list[str]]:
    return [find(market) for find in LISTS]


def on(market: Market, row: int) -> str:
    return f"{market.dates[row]:%Y-%m-%d}"


def test_nothing_is_found_where_nothing_is_odd(market: Market) -> None:
    assert found(market) == [[], [], [], []]
    assert found(market.until(5)) == [[], [], [], []]


@pytest.mark.parametrize(("factor", "day"), [(1 / 100, 60), (1000, 60), (100, 30), (1 / 100, 108)])
def test_a_volume_that_changes_its_unit_is_found_on_its_day(
    factor: float, day: int, market: Market
) -> None:
    odd = changed(market, ("volume",), 2, slice(day, None), factor)
    (text,) = breaks.volume_jumps(odd)
    symbol, date, _, size = text.split()
    assert (symbol, date) == ("ST2", on(market, day))
    assert float(size) == pytest.approx(factor, rel=0.3)
    assert found(odd)[0] == found(odd)[2] == found(odd)[3] == []


@pytest.mark.parametrize("factor", [1 / 2, 1 / 4, 2, 100])
def test_a_price_that_jumps_and_stays_is_found(factor: float, market: Market) -> None:
    odd = changed(market, PRICES, 5, slice(70, None), factor)
    (text,) = breaks.price_jumps(odd)
    assert text.startswith(f"ST5 {on(market, 70)} x ")
    assert float(text.split()[-1]) == pytest.approx(factor, rel=0.25)


def test_what_does_not_stay_is_no_jump(market: Market) -> None:
    for days in (slice(70, 71), slice(70, 72)):
        assert breaks.price_jumps(changed(market, PRICES, 5, days, 10)) == []
        assert breaks.volume_jumps(changed(market, ("volume",), 5, days, 1000)) == []


def test_a_price_that_climbs_day_by_day_is_no_jump(market: Market) -> None:
    close = market.field("close").clone()
    close[70:90, 1] *= torch.logspace(0, 1, 20)
    close[90:, 1] *= 10
    assert breaks.price_jumps(replace(market, fields={**market.fields, "close": close})) == []


def test_stocks_are_found_in_every_block(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = changed(market, ("volume",), 6, slice(60, None), 1000)
    odd = frozen(odd, PRICES, 7, slice(20, 40))
    whole = found(odd)
    monkeypatch.setattr(breaks, "BLOCK", 3 * len(market.dates))
    assert found(odd) == whole
    assert [len(texts) for texts in whole] == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("find", "fields", "shortest"),
    [(breaks.frozen_closes, ("close",), 10), (breaks.frozen_prices, PRICES, 5)],
)
def test_prices_are_frozen_from_so_many_days_on(
    find: Callable[[Market], list[str]],
    fields: tuple[str, ...],
    shortest: int,
    market: Market,
) -> None:
    last = 40 + shortest - 1
    odd = frozen(market, fields, 3, slice(40, last + 1))
    assert find(odd) == [f"ST3 {shortest} days to {on(market, last)}"]
    assert find(frozen(market, fields, 3, slice(40, last))) == []
    lines = check_market(odd)
    assert lines[
        f"{'the same close' if len(fields) == 1 else 'all prices the same'} for {shortest} days"
    ].startswith("1 (ST3 ")


def test_breaks_of_a_stock_that_is_no_member_are_left_out(market: Market) -> None:
    odd = changed(market, ("volume",), 6, slice(60, None), 1000)
    odd = frozen(changed(odd, PRICES, 6, slice(60, None), 4), PRICES, 6, slice(20, 40))
    assert [len(texts) for texts in found(odd)] == [1, 1, 1, 1]
    members = market.members.clone()
    members[:, 6] = False
    assert found(replace(odd, members=members)) == [[], [], [], []]


def test_the_first_days_of_a_stock_are_no_level(market: Market) -> None:
    """It is listed on day 50 and hardly trades for 10 days, or for 20, a third of the window."""
    fields = {name: field.clone() for name, field in market.fields.items()}
    for field in fields.values():
        field[:50, 2] = torch.nan
    market = replace(market, fields=fields)
    for n_days, count in ((10, 0), (20, 1)):
        odd = changed(market, ("volume",), 2, slice(50, 50 + n_days), 1 / 1000)
        assert len(breaks.volume_jumps(odd)) == count


def test_a_suspension_ends_what_is_frozen(market: Market) -> None:
    odd = frozen(market, PRICES, 3, slice(40, 49))
    fields = {name: field.clone() for name, field in odd.fields.items()}
    for field in fields.values():
        field[44, 3] = torch.nan
    assert found(replace(odd, fields=fields)) == [[], [], [], []]


def test_the_real_markets_have_no_breaks_but_real_ones() -> None:
    """AIG and others in 2008, oil in March 2020; DXC was a smaller company before a merger."""
    chinese = Market.from_qlib(real_data("csi300"), universe="csi300")
    assert found(chinese) == [[], [], [], []]
    american = Market.from_table(
        real_data("sp500") / "prices.parquet", columns={"adjusted_close": "adjusted_close"}
    )
    moves, volumes, *still = found(american)
    assert len(moves) == 8
    assert [text.split()[0] for text in volumes] == ["DXC"]
    assert still == [[], []]
