"""Concepts: who belongs to what on which day, from tables and from the train days alone."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import make_data, small_config

from alphazoo.config import instantiate
from alphazoo.data.concepts import correlation_groups, read_concepts
from alphazoo.data.market import Market
from alphazoo.data.sources.synthetic import SyntheticMarket, planted_sectors
from alphazoo.errors import InputError


@pytest.fixture
def market() -> SyntheticMarket:
    """Days from Thursday 2015-01-01, stocks S00000 to S00011."""
    market: SyntheticMarket = instantiate(small_config().data.market)()
    return market


def table(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_a_membership_holds_from_its_first_to_its_last_day(market: SyntheticMarket) -> None:
    frame = table(
        symbol=["S00000", "S00000", "S00001", "NONE"],
        concept=["oil", "oil", "gas", "oil"],
        **{"from": ["2015-01-05", "2015-02-02", None, None]},
        to=["2015-01-30", None, "2015-01-10", None],
        weight=[1, 2, 3, 4],
    )
    concepts = read_concepts(market, [], table=frame)
    assert concepts.names == ("gas", "oil")
    stocks = torch.arange(3)

    def held(date: str) -> list[list[float]]:
        return concepts.on(int(market.dates.searchsorted(pd.Timestamp(date))), stocks).tolist()

    assert held("2015-01-02") == [[0, 0], [3, 0], [0, 0]]
    assert held("2015-01-05") == [[0, 1], [3, 0], [0, 0]]
    assert held("2015-01-30") == [[0, 1], [0, 0], [0, 0]]
    assert held("2015-03-02") == [[0, 2], [0, 0], [0, 0]]


def test_several_columns_are_concepts_side_by_side(market: SyntheticMarket) -> None:
    frame = table(symbol=["S00000", "S00001"], sector=["A", "A"], industry=["A", None])
    concepts = read_concepts(market, [], table=frame, columns={"concept": ["sector", "industry"]})
    assert concepts.names == ("industry: A", "sector: A")
    assert concepts.on(0, torch.arange(3)).tolist() == [[1, 1], [0, 1], [0, 0]]


@pytest.mark.parametrize(
    ("change", "columns", "message"),
    [
        ({}, {"concept": "sector"}, r"no column 'sector' .*concept"),
        ({}, {"frm": "from"}, "unknown key 'frm'; did you mean 'from'"),
        ({"from": ["2015-02-01", None]}, None, "S00000 in 'a' from 2015-02-01 .* before it starts"),
        ({"symbol": ["S00000", "S00000"]}, None, "S00000 in 'a' .* overlaps another period"),
        ({"from": ["soon", None]}, None, "column 'from', row 1 .line 2.: 'soon' is not a date"),
        ({"weight": [1, -2]}, None, "weight of S00001 in 'a' is -2, expected a number above 0"),
        ({"symbol": ["X", "Y"]}, None, "none of its symbols is in market .*: X, Y"),
        ({"symbol": ["", "S00001"]}, None, "column 'symbol', row 1 .line 2.: no symbol"),
    ],
)
def test_wrong_tables_are_refused(
    change: dict[str, list[object]],
    columns: dict[str, str] | None,
    message: str,
    market: SyntheticMarket,
    tmp_path: Path,
) -> None:
    good: dict[str, list[object]] = {
        "symbol": ["S00000", "S00001"],
        "concept": ["a", "a"],
        "from": [None, None],
        "to": ["2015-01-30", None],
        "weight": [1, 2],
    }
    file = tmp_path / "concepts.csv"
    table(**{**good, **change}).to_csv(file, index=False)
    with pytest.raises(InputError, match=message):
        read_concepts(market, [], table=file, columns=columns)


def test_a_day_carries_its_concepts_in_the_order_of_its_stocks(tmp_path: Path) -> None:
    file = tmp_path / "concepts.csv"
    table(symbol=["S00003", "S00007"], concept=["a", "b"]).to_csv(file, index=False)
    data = make_data(small_config(f"data.concepts={file}"))
    day = data.days("test")[0]
    expected = torch.stack([day.stocks == 3, day.stocks == 7], dim=1).float()
    assert torch.equal(day.concepts, expected)


def test_correlation_finds_sectors_on_the_train_days_alone() -> None:
    market = Market.from_synthetic(
        n_days=400, n_stocks=40, n_sectors=4, reversal=0.0, lead_lag=0.0, seed=0
    )
    # a strong common move of each sector, up to day 200; noise alone afterwards
    moves = torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
    moves[200:] = 0
    market.fields["close"].mul_((0.05 * moves).cumsum(dim=0).exp()[:, market.sectors])

    def groups() -> list[int]:
        found = correlation_groups(market, range(200), n_groups=4, min_days=50)
        return found.concepts.tolist()

    before = groups()
    stocks = correlation_groups(market, range(200), n_groups=4, min_days=50).stocks
    pairs = set(zip(before, market.sectors[stocks].tolist(), strict=True))
    assert len(pairs) == 4  # one group per sector
    market.fields["close"][200:] *= torch.rand(200, 40) + 0.5
    assert groups() == before
    with pytest.raises(InputError, match="n_groups=99: .* stocks have 50 returns"):
        correlation_groups(market, range(200), n_groups=99, min_days=50)


def test_planted_sectors_are_those_of_a_synthetic_market(market: SyntheticMarket) -> None:
    assert planted_sectors(market, []).on(0, torch.arange(3)).argmax(dim=1).tolist() == [0, 1, 0]
    other = Market(**{k: getattr(market, k) for k in Market.__dataclass_fields__})
    with pytest.raises(InputError, match="no planted sectors"):
        planted_sectors(other, [])
