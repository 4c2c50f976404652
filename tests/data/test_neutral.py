"""Neutral labels are the residuals that pandas and NumPy find, on every day and in every run."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import real_data, small_config
from torch import Tensor

from alphazoo.config import instantiate
from alphazoo.data.neutral import residuals
from alphazoo.market.concept_sources import find_concepts
from alphazoo.market.concept_table import read_concepts
from alphazoo.market.concepts import Concepts
from alphazoo.market.market import Market
from alphazoo.market.returns import forward_return


def memberships(*rows: tuple[int, int, int, int], n_stocks: int) -> Concepts:
    """Concepts from rows of stock, concept, first and last day."""
    stocks, concepts, first, last = torch.tensor(rows).T
    return Concepts(
        names=tuple(f"concept {k}" for k in range(int(concepts.max()) + 1)),
        n_stocks=n_stocks,
        stocks=stocks,
        concepts=concepts,
        first=first,
        last=last,
        weights=torch.ones(len(stocks)),
    )


def random_returns(n_days: int, n_stocks: int) -> Tensor:
    """On most days the same stocks, on some a stock is missing."""
    random = torch.Generator().manual_seed(0)
    returns = 0.02 * torch.randn(n_days, n_stocks, generator=random)
    returns[torch.rand(n_days, generator=random) < 0.3, :2] = torch.nan
    return returns


def nested(n_stocks: int, n_sectors: int, n_industries: int) -> Concepts:
    """Each industry lies in one sector; every fifth stock has no industry, the last ones nothing.

    The last concept has no stock. The matrix of memberships is far from full rank.
    """
    rows = []
    for stock in range(n_stocks - 3):
        industry = stock % n_industries
        rows.append((stock, industry % n_sectors, 0, 10**6))
        if stock % 5:
            rows.append((stock, n_sectors + industry, 0, 10**6))
    rows.append((0, n_sectors + n_industries, 10**5, 10**6))
    return memberships(*rows, n_stocks=n_stocks)


def least_squares(returns: Tensor, concepts: Concepts) -> np.ndarray:
    """Day by day in float64, with the pseudo-inverse of a matrix of known rank."""
    expected = np.full(returns.shape, np.nan)
    for day, row in enumerate(returns):
        known = row.isfinite()
        x = (concepts.on(day, known.nonzero()[:, 0]) != 0).double().numpy()
        x = np.c_[x, x.sum(axis=1) == 0]
        y = row[known].double().numpy()
        expected[day, known] = y - x @ (np.linalg.pinv(x, rcond=1e-9) @ y)
    return expected


def group_residuals(returns: Tensor, groups: np.ndarray) -> np.ndarray:
    """pandas: the return minus the mean of the stock's group [S] on the day."""
    stacked = pd.DataFrame(returns.double().numpy()).T
    return (stacked - stacked.groupby(groups).transform("mean")).T.to_numpy()


def test_one_group_per_stock_leaves_the_return_minus_the_mean_of_pandas() -> None:
    market = instantiate(small_config().data.market)()
    concepts = find_concepts(instantiate(small_config().data.concepts), market, range(60))
    returns = forward_return(market.field("close"), buy=1, sell=2)
    groups = concepts.on(0, torch.arange(len(market.symbols))).argmax(dim=1).numpy()
    found = residuals(returns, concepts)
    np.testing.assert_allclose(found, group_residuals(returns, groups), atol=1e-7)
    assert (found - returns).abs().nan_to_num().max() > 1e-3


def test_sectors_and_industries_leave_the_residuals_of_least_squares() -> None:
    """Three times, with freed memory full of large numbers: nothing uninitialised is read."""
    returns, concepts = random_returns(60, 90), nested(90, n_sectors=5, n_industries=20)
    design = concepts.on(0, torch.arange(90)).numpy()
    assert np.linalg.matrix_rank(design) < (design != 0).any(axis=0).sum()
    expected = least_squares(returns, concepts)
    for _ in range(3):
        for size in (10, 100, 1000, 10_000):
            np.full(size, 2**62), torch.full((size,), 2**30)  # freed at once
        found = residuals(returns, concepts)
        np.testing.assert_allclose(found, expected, atol=1e-8)


def test_days_are_solved_together_only_while_nothing_changes() -> None:
    """Stock 3 changes its group on day 3, stock 4 leaves after day 5, stock 0 is missing once."""
    concepts = memberships(
        *((stock, stock % 2, 0, 99) for stock in range(3)),
        (3, 0, 0, 2),
        (3, 1, 3, 99),
        (4, 0, 0, 5),
        (5, 1, 0, 99),
        n_stocks=6,
    )
    returns = random_returns(9, 6)
    returns[:] = returns.nan_to_num(0.01)
    returns[7, 0] = torch.nan
    found = residuals(returns, concepts)
    np.testing.assert_allclose(found, least_squares(returns, concepts), atol=1e-8)


def test_a_stock_alone_in_its_group_has_a_residual_of_exactly_zero() -> None:
    concepts = memberships(*((s, c, 0, 9) for s in range(6) for c in (s // 2, 3)), n_stocks=7)
    returns = torch.tensor([[0.1, 0.2, 0.3, 0.7, 0.11, 0.13, 1 / 3]])
    found = residuals(returns, concepts)[0]
    assert found[6] == 0
    assert found[:6].abs().min() > 1e-3


def test_a_day_without_returns_has_no_residuals() -> None:
    returns = torch.full((3, 4), torch.nan)
    returns[1, 2] = 0.5
    found = residuals(returns, memberships((0, 0, 0, 9), n_stocks=4))
    assert found.isfinite().nonzero().tolist() == [[1, 2]]


@pytest.mark.parametrize("columns", [["sector"], ["sector", "industry"]])
def test_residuals_on_the_sp500_are_those_of_least_squares(columns: list[str]) -> None:
    folder = real_data("sp500")
    prices = pd.read_parquet(folder / "prices.parquet")
    market = Market.from_table(prices[pd.to_datetime(prices["date"]) >= "2020-06-01"])
    names = {"symbol": "symbol", "concept": columns}
    concepts = read_concepts(market, [0], table=folder / "sectors.csv", columns=names)
    returns = forward_return(market.field("close"), buy=1, sell=2)
    found = residuals(returns, concepts)
    np.testing.assert_allclose(found, least_squares(returns, concepts), atol=1e-7)
