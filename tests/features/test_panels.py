"""Columns by name: of Alpha158, of the user's functions and tables, mixed, kept in a cache."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import SMALL, fit, small_frame
from markets import random_market
from torch import Tensor

from alphazoo.config import compose, instantiate
from alphazoo.data.audit import find_look_ahead
from alphazoo.errors import InputError
from alphazoo.features import alpha158, panels, rolling, store
from alphazoo.features.panels import Panels
from alphazoo.market.market import Market


def momentum(market: Market, days: int = 5) -> Mapping[str, Tensor]:
    close = market.field("close")
    past = torch.cat([torch.full_like(close[:days], torch.nan), close[:-days]])
    return {"momentum": close / past - 1, "reversal": past / close - 1}


def tomorrow(market: Market) -> Mapping[str, Tensor]:
    return {"tomorrow": market.field("close").roll(-1, dims=0)}


def test_windows_are_cut_from_the_panel() -> None:
    bound = instantiate(compose("features=alpha158_seq").features).bind(random_market())
    stocks = torch.tensor([3, 0, 7])
    window = bound(100, stocks)
    assert window.shape == (20, 3, 20)
    expected = bound.parts[0][:, 81:101][:, :, stocks].permute(1, 2, 0)
    assert torch.equal(window.nan_to_num(), expected.nan_to_num())
    early = bound(4, stocks)
    assert early.shape == (20, 3, 20)
    assert early[:15].isnan().all()
    known = bound.parts[0][:, :5][:, :, stocks].permute(1, 2, 0)
    assert torch.equal(early[15:].nan_to_num(), known.nan_to_num())


def test_columns_of_all_kinds_come_in_the_order_asked_for() -> None:
    market = random_market()
    market = replace(market, fields={**market.fields, "earnings": torch.rand(130, 20)})
    columns = ["reversal", "WVMA60", "earnings", "KLOW", "momentum", "QTLD20"]
    windows = Panels(columns, window=3, functions=[momentum]).bind(market)
    every = Panels(alpha158.COLUMNS, window=1).bind(market).parts[0]
    expected = {**momentum(market), "earnings": market.field("earnings")}
    window = windows(100, torch.tensor([3, 0]))
    for index, (name, column) in enumerate(
        zip(columns, windows.columns(torch.arange(130)), strict=True)
    ):
        panel = expected.get(name)
        if panel is None:
            panel = every[alpha158.COLUMNS.index(name)]
        assert torch.equal(column.nan_to_num(), panel.nan_to_num())
        assert torch.equal(window[..., index], panel[98:101][:, [3, 0]])
    assert not every[:, 60:].isnan().all(dim=1).all(dim=1).any()  # each is computed


def wrong_shape(market: Market) -> Mapping[str, Tensor]:
    return {"mine": torch.rand(3, 3)}


def wrong_type(market: Market) -> Mapping[str, Tensor]:
    return {"mine": [1.0]}  # type: ignore[dict-item]


def wrong_name(market: Market) -> Mapping[str, Tensor]:
    return {"KMID": market.field("close")}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Panels(["RSQ5"], 1), "unknown column 'RSQ5'; did you mean 'RSQR5'?"),
        (lambda: Panels(["momentun"], 1, [momentum]), "did you mean 'momentum'?"),
        (lambda: Panels([], 1), "features.columns is empty"),
        (lambda: Panels(["KMID"], 0), "features.window must be at least 1 day, got 0"),
        (lambda: Panels(["KMID", "KMID"], 1), "duplicate names: KMID"),
        (lambda: Panels(["KMID"], 600), "window is 600 days, but market 'random' has only 130"),
        (lambda: Panels(["mine"], 1, [wrong_shape]), "wrong_shape returns 'mine' as Tensor (3, 3)"),
        (lambda: Panels(["mine"], 1, [wrong_type]), "wrong_type returns 'mine' as list ()"),
        (lambda: Panels(["KMID"], 1, [wrong_name]), "wrong_name defines 'KMID' again"),
        (lambda: Panels(["KMID"], 1, [momentum] * 2), "momentum defines 'momentum' again"),
    ],
)
def test_columns_that_cannot_be_are_refused(make: Callable[[], Panels], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        make().bind(random_market())


def test_the_audit_reads_no_cache(tmp_path: Path) -> None:
    market = random_market()
    features = Panels(["KMID", "MA5", "tomorrow"], 2, [tomorrow], cache=str(tmp_path))
    features.bind(market)
    assert find_look_ahead(market, features).keys() == {"tomorrow"}


def test_the_audit_computes_columns_that_the_cache_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns of the whole history would look the same on all days."""
    compute = alpha158.compute

    def ahead(fields: Mapping[str, Tensor], columns: Sequence[str], out: Tensor) -> None:
        compute(fields, columns, out)
        out[columns.index("MA5")] = fields["close"][-out.shape[1] :].roll(-1, dims=0)

    monkeypatch.setattr(alpha158, "compute", ahead)
    market = random_market()
    features = Panels(["KMID", "MA5"], 70, cache=str(tmp_path))
    features.bind(market)
    assert find_look_ahead(market, features).keys() == {"MA5"}


def patchy_market(n_days: int = 320) -> Market:
    """Suspensions longer than any window, stocks that come and go, fields that are missing."""
    market = random_market(n_days)
    fields = {name: field.clone() for name, field in market.fields.items()}
    for field in fields.values():
        field[5:99, 3] = torch.nan
        field[80:, 4] = torch.nan  # gone
        field[:180, 5] = torch.nan  # new
        field[70:230, 6] = field[235:318, 6] = torch.nan
        field[:, 7] = torch.nan  # never there
        field[:90, 8] = field[91:, 8] = torch.nan  # there for a day
    fields["high"][:200, 9] = fields["close"][60:200, 10] = fields["low"][90:, 11] = torch.nan
    fields["volume"][70:200, 12] = torch.nan
    return replace(market, fields=fields)


STEPS = [[60], [100], [259], [99, 100, 101, 165, 166, 230, 300], [*range(290, 319)]]


@pytest.mark.parametrize("steps", STEPS)
def test_the_cache_changes_nothing(steps: list[int], tmp_path: Path) -> None:
    """Computed at once, in any number of steps, or read: the same bits in every column."""
    market = patchy_market()
    plain = Panels(alpha158.COLUMNS, 1).bind(market).parts[0].nan_to_num(-9)
    kept = Panels(alpha158.COLUMNS, 1, cache=str(tmp_path))
    for last in steps:
        kept.bind(market.until(last))
    for _ in range(2):
        found = kept.bind(market).parts[0].nan_to_num(-9)
        differs = (found != plain).flatten(1).any(dim=1)
        assert [alpha158.COLUMNS[i] for i in differs.nonzero().flatten()] == []
    assert len([*tmp_path.iterdir()]) == 1


def test_counts_of_a_suspended_stock_are_zero_not_missing(tmp_path: Path) -> None:
    """Suspended for 90 days up to the end, of which the last ten are new: no rise, no fall."""
    market = patchy_market(170)
    columns = ["CNTP60", "CNTN5", "CNTD20"]
    kept = Panels(columns, 1, cache=str(tmp_path))
    kept.bind(market.until(159))
    assert kept.bind(market).parts[0][:, 160:, 4].unique().tolist() == [0]


def test_the_module_that_stores_a_panel_is_part_of_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index, module in enumerate((None, panels, rolling, alpha158, store)):
        if module is not None:
            code = tmp_path / "code.py"
            code.write_text(str(index))
            monkeypatch.setattr(module, "__file__", str(code))
        Panels(["KMID"], 1, cache=str(tmp_path / "store")).bind(random_market())
        assert len([*(tmp_path / "store").iterdir()]) == index + 1


def test_a_model_trains_on_columns_of_ones_own(tmp_path: Path) -> None:
    frame = small_frame()
    frame["earnings"] = frame["close"] / frame["open"] - 1
    frame.to_parquet(tmp_path / "prices.parquet")
    config = compose(
        *(override for override in SMALL if not override.startswith("data.n_")),
        "data=table",
        f"data.path={tmp_path}/prices.parquet",
        "data.extra=[earnings]",
        "features=alpha158",
        "features.columns=[KMID,earnings,momentum]",
        "features.functions=[{_target_: test_panels.momentum, _partial_: true, days: 3}]",
        "model=linear",
        f"folder={tmp_path}/run",
    )
    run = fit(config)
    assert run.day.features.shape == (8, 20, 3)
    assert run.model(run.day).isfinite().all()


def test_the_cache_is_a_folder_of_the_user_unless_said_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert instantiate(compose("features=alpha158").features).cache is None  # as conftest says
    monkeypatch.delenv("ALPHAZOO_CACHE")
    assert instantiate(compose("features=alpha158").features).cache == "~/.cache/alphazoo"
    assert instantiate(compose("features=alpha158", "features.cache=null").features).cache is None
