"""A panel is judged like scores: members with a price, and their returns."""

import pytest
import torch

from alphazoo.data.labels import Label
from alphazoo.data.scores import panel_scores
from alphazoo.errors import InputError
from alphazoo.market.market import Market
from alphazoo.metrics import summary

LABEL = Label(buy=1, sell=2, scale="raw")


@pytest.fixture(scope="module")
def market() -> Market:
    return Market.from_synthetic(
        n_days=60, n_stocks=20, n_sectors=2, reversal=0.0, lead_lag=0.0, seed=0
    )


def test_the_return_itself_has_an_ic_of_1(market: Market) -> None:
    table = panel_scores(LABEL.returns(market.field("close")), market, LABEL)
    assert summary(table)["ic"] == pytest.approx(1.0)
    assert list(table) == ["date", "symbol", "score", "return"]


def test_members_with_a_price_and_a_value_are_scored(market: Market) -> None:
    panel = market.field("close").nan_to_num(1.0).clone()
    panel[:, 3] = torch.nan
    table = panel_scores(panel, market, LABEL)
    present = market.present.clone()
    present[:, 3] = False
    assert len(table) == int(present.sum())
    row = table.iloc[7]
    day, stock = market.dates.get_loc(row["date"]), market.symbols.index(row["symbol"])
    assert row["score"] == float(panel[day, stock])


def test_a_panel_of_another_market_is_refused(market: Market) -> None:
    with pytest.raises(InputError, match=r"\[59, 20\], expected \[60, 20\]"):
        panel_scores(market.field("close")[1:], market, LABEL)
