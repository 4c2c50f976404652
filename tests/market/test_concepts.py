"""Concepts: who belongs to what on which day, from tables and from the train days alone."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import SEGMENTS, make_data, small_config, small_frame
from omegaconf import DictConfig

from alphazoo.commands.job import train
from alphazoo.config import compose, instantiate
from alphazoo.data.labels import Label
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError
from alphazoo.market.concept_sources import correlation_groups, no_concepts, planted_sectors
from alphazoo.market.concept_state import concepts_state, join_concepts, restore_concepts
from alphazoo.market.concept_table import read_concepts
from alphazoo.market.concepts import Concepts, always, are_learned
from alphazoo.market.market import Market
from alphazoo.runs.run import Run
from alphazoo.serving.predict import predict
from alphazoo.training.walk_forward import walk_forward


@pytest.fixture
def market() -> Market:
    """Days from Thursday 2015-01-01, stocks S00000 to S00011."""
    market: Market = instantiate(small_config().data.market)()
    return market


def table(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_a_membership_holds_from_its_first_to_its_last_day(market: Market) -> None:
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


def test_several_columns_are_concepts_side_by_side(market: Market) -> None:
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
        (
            {"symbol": ["", "S00001"]},
            None,
            "column 'symbol', row 1 .line 2.: the symbol is missing",
        ),
    ],
)
def test_wrong_tables_are_refused(
    change: dict[str, list[object]],
    columns: dict[str, str] | None,
    message: str,
    market: Market,
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
    market.fields["close"].mul_((0.05 * moves).cumsum(dim=0).exp()[:, market.planted.sectors])

    def groups() -> list[int]:
        found = correlation_groups(market, range(200), n_groups=4, min_days=50)
        return found.concepts.tolist()

    before = groups()
    stocks = correlation_groups(market, range(200), n_groups=4, min_days=50).stocks
    pairs = set(zip(before, market.planted.sectors[stocks].tolist(), strict=True))
    assert len(pairs) == 4  # one group per sector
    market.fields["close"][200:] *= torch.rand(200, 40) + 0.5
    assert groups() == before
    with pytest.raises(InputError, match="n_groups=99, but .* stocks with 50 returns"):
        correlation_groups(market, range(200), n_groups=99, min_days=50)


def test_planted_sectors_are_those_of_a_synthetic_market(market: Market) -> None:
    assert planted_sectors(market, []).on(0, torch.arange(3)).argmax(dim=1).tolist() == [0, 1, 0]
    other = replace(market, planted=None)
    with pytest.raises(InputError, match="no planted sectors"):
        planted_sectors(other, [])


# groups are made of members


@pytest.fixture
def pairs() -> Market:
    """Two pairs of stocks that move alike, with some noise; all of them members on 40 days."""
    frame = small_frame(n_days=40, n_stocks=4)
    random = torch.Generator().manual_seed(1)
    moves = 0.02 * torch.randn(40, 2, generator=random)[:, [0, 1, 0, 1]]
    moves += 0.002 * torch.randn(40, 4, generator=random)
    frame["close"] = moves.cumsum(dim=0).exp().flatten().numpy()
    return Market.from_table(frame.drop(columns="adjusted_close"), columns={})


def widen(market: Market, closes: torch.Tensor, members: torch.Tensor) -> Market:
    """The market with stocks AA0, AA1, ... before the others."""
    count = closes.shape[1]
    fields = {
        name: torch.cat([closes if name == "close" else torch.ones_like(closes), panel], dim=1)
        for name, panel in market.fields.items()
    }
    return replace(
        market,
        symbols=(*(f"AA{number}" for number in range(count)), *market.symbols),
        fields=fields,
        members=torch.cat([members, market.members], dim=1),
    )


def by_symbol(concepts: Concepts, market: Market) -> dict[str, str]:
    stocks = [market.symbols[stock] for stock in concepts.stocks.tolist()]
    names = [concepts.names[number] for number in concepts.concepts.tolist()]
    return dict(zip(stocks, names, strict=True))


def test_stocks_that_are_no_members_have_no_group_and_change_none(pairs: Market) -> None:
    known = by_symbol(correlation_groups(pairs, range(40), n_groups=2, min_days=30), pairs)
    assert known["ST0"] == known["ST2"] != known["ST1"] == known["ST3"]
    others = 10 * torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
    wide = widen(pairs, others, torch.zeros(40, 3, dtype=torch.bool))
    found = correlation_groups(wide, range(40), n_groups=2, min_days=30)
    assert by_symbol(found, wide) == known
    index = replace(pairs, indices={"ST3": {"close": pairs.field("close")[:, 3]}})
    found = correlation_groups(index, range(40), n_groups=2, min_days=30)
    assert "ST3" not in by_symbol(found, index)


def test_returns_count_on_days_of_membership(pairs: Market) -> None:
    """ST1 is a member on 20 days, the first of which has no day before it; so has that of ST2."""
    members = pairs.members.clone()
    members[20:, 1] = False
    found = [
        by_symbol(
            correlation_groups(
                replace(pairs, members=members), range(40), n_groups=1, min_days=count
            ),
            pairs,
        )
        for count in (19, 20, 39)
    ]
    assert [*map(sorted, found)] == [
        ["ST0", "ST1", "ST2", "ST3"],
        ["ST0", "ST2", "ST3"],
        ["ST0", "ST2", "ST3"],
    ]
    with pytest.raises(InputError, match="stocks with 40 returns .* universe members is 0"):
        correlation_groups(pairs, range(40), n_groups=1, min_days=40)


def test_prices_outside_of_membership_do_not_count(pairs: Market) -> None:
    members = pairs.members.clone()
    members[20:, 1] = False
    market = replace(pairs, members=members)
    known = correlation_groups(market, range(40), n_groups=2, min_days=10)
    close = pairs.field("close").clone()
    close[20:, 1] *= torch.rand(20, generator=torch.Generator().manual_seed(0)) + 0.5
    other = replace(market, fields={**market.fields, "close": close})
    found = correlation_groups(other, range(40), n_groups=2, min_days=10)
    assert found.concepts.tolist() == known.concepts.tolist()


# groups belong to the checkpoint


def test_concepts_are_kept_by_symbol_and_date(pairs: Market) -> None:
    made = Concepts(
        names=("b", "a", "nobody"),
        n_stocks=4,
        stocks=torch.tensor([0, 1, 3]),
        concepts=torch.tensor([1, 0, 1]),
        first=torch.tensor([0, 5, 0]),
        last=torch.tensor([39, 39, 8]),
        weights=torch.tensor([1.0, 2.5, 1.0]),
    )
    state = json.loads(json.dumps(concepts_state(made, pairs)))
    frame = small_frame(n_days=50, n_stocks=3)  # ST3 is gone, ten days are new
    newcomer = frame[frame["symbol"] == "ST0"].assign(symbol="AAA")
    grown = Market.from_table(pd.concat([frame, newcomer]))
    found = restore_concepts(state, grown)
    assert found.names == made.names
    assert found.n_stocks == 4
    columns = (found.stocks, found.concepts, found.first, found.last, found.weights)
    assert [part.tolist() for part in columns] == [
        *([1, 2], [1, 0], [0, 5], [49, 49], [1.0, 2.5])  # an open end is open
    ]
    same = restore_concepts(state, pairs)
    assert concepts_state(same, pairs) == state


def mine(market: Market, train: Sequence[int]) -> Concepts:
    """By the sign of the return over the train days, as a user may have it."""
    close = market.field("close")
    up = (close[max(train)] > close[min(train)]).long().numpy()
    return always(["down", "up"], torch.arange(len(up)).numpy(), up, market)


def test_concepts_of_a_function_are_computed_and_those_of_a_table_are_data() -> None:
    chosen = [
        compose(f"data/concepts={name}", *more).data.concepts
        for name, more in (
            ("correlation", []),
            ("synthetic", []),
            ("table", ["data.concepts.table=x.csv"]),
        )
    ]
    assert [are_learned(instantiate(node)) for node in chosen] == [True, False, False]
    assert [are_learned(source) for source in (mine, "x.csv", None, no_concepts)] == [
        *(True, False, False, False)
    ]


def test_a_data_module_takes_the_computed_concepts_of_a_checkpoint(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def first_concept(
        self: Label, returns: torch.Tensor, present: torch.Tensor, concepts: Concepts
    ) -> torch.Tensor:
        """A label that concepts decide."""
        stocks = torch.arange(returns.shape[1])
        return (returns + concepts.on(0, stocks)[:, 0]).where(present, torch.nan)

    monkeypatch.setattr(Label, "scaled", first_concept)
    config = small_config("label.neutral=true")
    market = instantiate(config.data.market)()

    def make(concepts: object) -> MarketDataModule:
        data: MarketDataModule = instantiate(config.datamodule, market=market, concepts=concepts)
        data.days("train")
        return data

    def swapped(market: Market, train: Sequence[int]) -> Concepts:
        found = mine(market, train)
        return replace(found, concepts=1 - found.concepts)

    before, after = make(mine), make(swapped)
    state = before.state_dict()
    table = make(planted_sectors)
    assert table.state_dict()["concepts"] is None
    after.load_state_dict(state)
    table.load_state_dict(state)
    days = [data.days("train")[0] for data in (before, after, table)]
    assert torch.equal(days[0].concepts, days[1].concepts)
    assert torch.equal(days[0].labels.nan_to_num(), days[1].labels.nan_to_num())
    assert not torch.equal(days[0].concepts, days[2].concepts)
    del state["concepts"]  # of an earlier version
    after.load_state_dict(state)
    assert "does not contain its concepts" in caplog.text


def test_scores_of_old_days_stay_when_symbols_come(tmp_path: Path) -> None:
    """Three stocks that are no members, and one that becomes one later."""
    frame = small_frame().assign(member=1)
    file = tmp_path / "prices.parquet"
    frame.to_parquet(file)
    train(
        compose(
            *SEGMENTS,
            *(
                "data=table",
                "data.min_stocks=2",
                "data.columns.member=member",
                f"data.path={file}",
                "model=hist",
            ),
            *("model.hidden_size=4", "data/concepts=correlation", "data.concepts.n_groups=3"),
            *("data.concepts.min_days=20", "trainer.accelerator=cpu", "trainer.max_epochs=1"),
            *("trainer.enable_progress_bar=false", "report=false", f"folder={tmp_path / 'run'}"),
        )
    )
    run = Run.open(tmp_path / "run")
    others = small_frame(n_stocks=4, seed=5)
    others["symbol"] = "AA" + others["symbol"]
    others["member"] = (others["symbol"] == "AAST3") & (others["date"] > "2015-06-29")
    pd.concat([frame, others.astype({"member": int})]).to_parquet(file)
    known = run.scores.query("split == 'test'").reset_index(drop=True)
    first, last = (f"{day:%Y-%m-%d}" for day in (known["date"].min(), known["date"].max()))
    scores = predict(run, first=first, last=last)
    pd.testing.assert_frame_equal(scores, known[["date", "symbol", "score"]], check_exact=True)


def test_concepts_of_windows_hold_on_their_days(pairs: Market) -> None:
    one = mine(pairs, range(10))
    two = replace(mine(pairs, range(20)), first=torch.full((4,), 25))
    joined = join_concepts({"May": (one, range(10, 20)), "June": (two, range(20, 30))})
    assert joined.names == ("May down", "May up", "June down", "June up")
    stocks = torch.arange(4)
    for row, concepts, part in ((10, one, [0, 1]), (19, one, [0, 1]), (25, two, [2, 3])):
        assert torch.equal(joined.on(row, stocks)[:, part], concepts.on(row, stocks))
    for row in (9, 20, 24, 30):
        assert joined.on(row, stocks).sum() == 0


def test_a_walk_forward_has_the_groups_of_each_window(tmp_path: Path) -> None:
    config = small_config(
        *("walk_forward=monthly", "model=linear", "data/concepts=correlation"),
        *("data.concepts.n_groups=2", "data.concepts.min_days=20", "trainer.max_epochs=1"),
        "data.train=['2015-02-01', '2015-03-31']",
        "data.valid=['2015-04-01', '2015-04-30']",
        *("data.test=['2015-05-01', null]", f"folder={tmp_path}"),
    )
    for told in (config, compose_again(config)):
        found = walk_forward(told)
        market, joined = found.data.market, found.concepts
        assert joined is not None
        assert joined.names == (
            *("2015-05-01 group 0", "2015-05-01 group 1"),
            *("2015-06-01 group 0", "2015-06-01 group 1"),
        )
        stocks = torch.arange(len(market.symbols))
        for number, (last, day) in enumerate((("2015-03-27", 5), ("2015-04-28", 6))):
            train_days = market.rows("2015-02-01", last)
            groups = correlation_groups(market, train_days, n_groups=2, min_days=20)
            rows = market.rows(f"2015-0{day}-01", f"2015-0{day}-28")
            held = joined.on(rows[3], stocks)
            assert torch.equal(held[:, 2 * number : 2 * number + 2], groups.on(0, stocks))
            assert held.sum() == groups.on(0, stocks).sum()


def compose_again(config: DictConfig) -> DictConfig:
    """The same run, which goes on."""
    again = config.copy()
    again.ckpt = "last"
    return again
