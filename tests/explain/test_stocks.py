"""Attention between stocks: numbers worked by hand, scipy, scikit-learn where it is there."""

import numpy as np
import pandas as pd
import pytest
import torch

from alphazoo.evaluation.drawing import draw
from alphazoo.explain.sectors import (
    NO_SECTOR,
    Groups,
    connectedness_table,
    mean_correlation,
    rotation_table,
    sector_matrix,
    sector_table,
    sectors_of,
    within_lift,
)
from alphazoo.explain.stock_figures import plot_sector_lift
from alphazoo.explain.stocks import (
    adjusted_rand_index,
    attended_stocks,
    cluster_tree,
    cut_tree,
    difference_of_rows,
    order_of_leaves,
    stock_matrix,
)
from alphazoo.models.probe import Shown

# three stocks, the first two in sector A: stock 0 attends to all equally, 1 to itself, 2 to 0
MATRIX = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0, 1, 0], [1, 0, 0]])
GROUPS = Groups(["A", "B"], torch.tensor([0, 0, 1]))


def random_matrix(n: int, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(n, n, generator=random).softmax(dim=1)


def test_the_sector_matrix_by_hand() -> None:
    b = sector_matrix(MATRIX, GROUPS)
    expected = torch.tensor([[(2 / 3 + 1) / 2, 1 / 6], [1, 0]])
    torch.testing.assert_close(b, expected)
    table = sector_table(b, GROUPS).set_index(["sector", "other"])
    assert table.loc[("A", "B"), "lift"] == pytest.approx((1 / 6) / (1 / 3))
    assert table.loc[("B", "A"), "lift"] == pytest.approx(1 / (2 / 3))
    assert within_lift(b, GROUPS) == pytest.approx((2 * (5 / 6) / (2 / 3) + 0) / 3)


def test_connectedness_by_hand() -> None:
    table = connectedness_table(sector_matrix(MATRIX, GROUPS), GROUPS).set_index("sector")
    assert table["from_others"].tolist() == pytest.approx([1 / 6, 1])
    assert table["to_others"].tolist() == pytest.approx([1, 1 / 6])
    assert table["net"].tolist() == pytest.approx([5 / 6, -5 / 6])
    assert table["to_lift"].tolist() == pytest.approx([1 / (2 / 3), (1 / 6) / (1 / 3)])


def test_equal_attention_is_chance_everywhere() -> None:
    n = 12
    groups = Groups(["A", "B", "C"], torch.tensor([0] * 2 + [1] * 3 + [2] * 7))
    b = sector_matrix(torch.full((n, n), 1 / n), groups)
    assert sector_table(b, groups)["lift"].tolist() == pytest.approx([1.0] * 9)
    assert connectedness_table(b, groups)["to_lift"].tolist() == pytest.approx([1.0] * 3)
    assert within_lift(b, groups) == pytest.approx(1)


def test_rows_of_the_sector_matrix_sum_to_one_and_net_to_zero() -> None:
    groups = Groups([*"ABCD"], torch.arange(40) % 4)
    b = sector_matrix(random_matrix(40), groups)
    torch.testing.assert_close(b.sum(dim=1), torch.ones(4))
    assert connectedness_table(b, groups)["net"].sum() == pytest.approx(0, abs=1e-6)


def test_stocks_that_attend_to_nobody_are_left_out() -> None:
    matrix = MATRIX.clone()
    matrix[1] = 0
    b = sector_matrix(matrix, GROUPS)
    torch.testing.assert_close(b[0], torch.tensor([2 / 3, 1 / 3]))


def test_the_sector_is_the_concept_of_largest_weight(make_day) -> None:
    concepts = torch.tensor([[0.0, 2.0, 1.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    groups = sectors_of(make_day(3)._replace(concepts=concepts), ("A", "B", "C"))
    assert groups.names == ["B", "C", NO_SECTOR]
    assert groups.codes.tolist() == [0, 1, 2]


def test_concentration_counts_equal_stocks() -> None:
    assert attended_stocks(MATRIX).tolist() == pytest.approx([3, 1, 1])


def test_the_matrix_is_the_mean_over_layers_heads_and_days() -> None:
    heads = torch.stack([random_matrix(4, seed) for seed in range(6)]).view(2, 3, 4, 4)
    shown = {
        "layers.0.attention": Shown("attention", heads, ("head", "step", "stock", "other"), {}),
        "layers.1.attention": Shown("attention", heads[0, 0], ("stock", "other"), {}),
        "hidden": Shown("concepts", random_matrix(4, 9), ("stock", "other"), {}),
    }
    expected = (heads.flatten(0, 1).mean(dim=0) + heads[0, 0]) / 2
    torch.testing.assert_close(stock_matrix(shown), expected)


def test_stocks_attend_to_the_members_of_the_concepts_they_read() -> None:
    read = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 0.0]])
    members = torch.tensor([[0.5, 0.25, 0.0], [0.0, 0.0, 0.5]])
    shown = {
        "known": Shown("concepts", read, ("stock", "concept"), {}),
        "members": Shown("concepts", members, ("concept", "other"), {}),
    }
    expected = [[2 / 3, 1 / 3, 0], [0.4, 0.2, 0.4], [0, 0, 0]]
    torch.testing.assert_close(stock_matrix(shown), torch.tensor(expected))


def test_weights_of_readers_become_shares_of_what_is_read() -> None:
    """Stock 0 gives half of itself to either reader, stock 1 all of itself to stock 0."""
    given = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    shown = {"attention": Shown("attention", given, ("other", "stock"), {})}
    expected = [[1 / 3, 2 / 3, 0], [1, 0, 0], [0, 0, 1]]
    torch.testing.assert_close(stock_matrix(shown), torch.tensor(expected))


def test_rows_of_additive_attention_are_alike() -> None:
    alike = torch.linspace(0, 1, 20).softmax(dim=0).expand(20, 20)
    assert difference_of_rows(alike) < 1e-6
    assert difference_of_rows(torch.eye(20)) == pytest.approx(0.95)


def test_clusters_are_the_blocks_of_the_matrix() -> None:
    sectors = torch.arange(30) % 3
    inside = (sectors[:, None] == sectors[None]).float() * 3
    matrix = inside + 0.1 * torch.randn(30, 30, generator=torch.Generator().manual_seed(0))
    tree = cluster_tree(matrix.softmax(dim=1))
    assert adjusted_rand_index(cut_tree(tree, 30, 3), sectors.numpy()) == 1
    order = sectors.numpy()[order_of_leaves(tree, 30)]
    assert (np.diff(order) != 0).sum() == 2  # each block is in one piece


def test_the_tree_is_that_of_scipy() -> None:
    """Distances over blocks of rows are those of all pairs."""
    from scipy.cluster.hierarchy import linkage

    matrix = random_matrix(600).double()
    rows = matrix.clone()
    rows[range(600), range(600)] = (rows.sum(dim=1) - rows.diagonal()) / 599
    np.testing.assert_allclose(
        cluster_tree(matrix), linkage(rows.numpy(), "average", "correlation"), atol=1e-9
    )


@pytest.mark.parametrize("n", [1, 2])
def test_days_of_one_and_two_stocks_have_no_tree(n: int) -> None:
    assert cluster_tree(random_matrix(n)) is None
    assert order_of_leaves(None, n).tolist() == list(range(n))
    assert cut_tree(None, n, 3).tolist() == [0] * n


def test_the_adjusted_rand_index_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    for _ in range(20):
        first, second = random.integers(0, 4, 30), random.integers(0, 6, 30)
        expected = metrics.adjusted_rand_score(first, second)
        assert adjusted_rand_index(first, second) == pytest.approx(expected)


def test_the_adjusted_rand_index_by_hand() -> None:
    """Six stocks in {3, 3} and {2, 2, 2}: 2 of 15 pairs agree, 6 * 3 / 15 are expected."""
    index = adjusted_rand_index(np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 2, 2]))
    assert index == pytest.approx((2 - 1.2) / (4.5 - 1.2))


def test_the_mean_correlation_is_that_of_pandas() -> None:
    random = np.random.default_rng(0)
    returns = random.standard_normal((20, 8)) + random.standard_normal((20, 1))
    pairs = pd.DataFrame(returns).corr().to_numpy()[np.triu_indices(8, 1)]
    assert mean_correlation(returns) == pytest.approx(pairs.mean())
    constant = np.concatenate([returns, np.ones((20, 1))], axis=1)
    assert mean_correlation(constant) == pytest.approx(pairs.mean())


def test_the_leader_has_the_largest_rolling_mean() -> None:
    dates = pd.date_range("2020-01-01", periods=30)
    first = [3.0] * 25 + [0.0] * 5
    table = pd.DataFrame(
        {
            "date": [*dates, *dates],
            "sector": ["A"] * 30 + ["B"] * 30,
            "to_lift": [*first, *[1] * 30],
        }
    )
    rotation = rotation_table(table).set_index(["sector", "date"])
    assert rotation.loc[("A", dates[29]), "to_lift"] == pytest.approx(3 * 15 / 20)
    assert rotation.loc["A", "leader"].all()
    assert not rotation.loc["B", "leader"].any()


def test_the_colour_bar_of_lift_has_no_values_that_cannot_be() -> None:
    figure = draw(plot_sector_lift, pd.DataFrame([[0.0, 7.0], [1.0, 1.0]]))
    low, high = figure.axes[1].get_ylim()
    assert low == -1  # a lift of 0
    assert high > 5
