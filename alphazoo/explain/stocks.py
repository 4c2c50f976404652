"""Attention between stocks as one matrix A [N, N]: stock i attends to j with the share A_ij."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alphazoo.models.probe import Shown

Codes = npt.NDArray[np.int64]
Tree = npt.NDArray[np.float64]

BLOCK = 512  # rows that are worked on at once


def stock_matrix(shown: Mapping[str, Shown]) -> Tensor:
    """Return how stocks attend to stocks, [N, N].

    Attention is averaged over layers, heads and days of the window. A network that reads concepts
    attends to their members: A_ij = sum over concepts k of (weight of k for i) (weight of j in k).
    Rows sum to 1, or to 0 for a stock that reads nothing.

    Raises:
        ValueError: The network shows no such thing.
    """
    direct = [
        x for x in shown.values() if x.kind == "attention" and {"stock", "other"} <= {*x.axes}
    ]
    if direct:
        return torch.stack([_average(x) for x in direct]).mean(dim=0)
    read = [x.tensor for x in shown.values() if x.axes == ("stock", "concept")]
    members = [x.tensor for x in shown.values() if x.axes == ("concept", "other")]
    if not (read and members):
        raise ValueError(f"no attention between stocks in {[*shown]}")
    return _row_shares(read[0] @ members[0])


def _average(shown: Shown) -> Tensor:
    """Return the mean over all axes but stock and other, [N, N].

    Where the weights of the stocks that read a stock sum to 1, these are made shares of a reader.
    """
    rest = [place for place, axis in enumerate(shown.axes) if axis not in ("stock", "other")]
    values = shown.tensor.mean(dim=rest) if rest else shown.tensor
    transposed = shown.axes.index("stock") > shown.axes.index("other")
    return _row_shares(values.T) if transposed else values


def _row_shares(matrix: Tensor) -> Tensor:
    """Divide rows by their sums; a row of zeros stays as it is."""
    return matrix / matrix.sum(dim=1, keepdim=True).clamp_min(torch.finfo(matrix.dtype).tiny)


def attended_stocks(matrix: Tensor) -> Tensor:
    """Return the effective number of stocks that each stock attends to, [N], from 1 to N.

    It is exp(-sum_j A_ij log A_ij): n for equal shares of n stocks.
    """
    entropy = [torch.special.entr(rows).sum(dim=1) for rows in torch.split(matrix, BLOCK)]
    return torch.cat(entropy).exp()


def difference_of_rows(matrix: Tensor) -> float:
    """Return the mean over the rows of their distance from the mean row, from 0 to 1.

    The distance of two rows of shares is half the sum of their absolute differences. Near 0, all
    stocks attend to the same stocks, as in additive attention over a complete graph.
    """
    mean = matrix.mean(dim=0)
    parts = [(rows - mean).abs().sum(dim=1) for rows in torch.split(matrix, BLOCK)]
    return float(torch.cat(parts).mean() / 2)


def cluster_tree(matrix: Tensor) -> Tree | None:
    """Return the hierarchical clustering of stocks that attend to the same stocks.

    Average linkage on 1 - Pearson correlation of the rows, in which the diagonal is replaced by the
    mean of the row, so that attention to oneself joins nobody.

    Returns:
        As `scipy.cluster.hierarchy.linkage`; None for fewer than three stocks.
    """
    from scipy.cluster.hierarchy import linkage

    n = len(matrix)
    if n < 3:
        return None
    rows = matrix.clone().fill_diagonal_(0)
    rows.diagonal().copy_(rows.sum(dim=1) / (n - 1))
    rows -= rows.mean(dim=1, keepdim=True)
    rows /= rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
    distances = np.empty(n * (n - 1) // 2, dtype=np.float64)
    end = 0
    for start in range(0, n, BLOCK):
        block = (1 - rows[start : start + BLOCK] @ rows.T).clamp_(min=0).numpy()
        for row, values in enumerate(block, start):
            begin, end = end, end + n - row - 1
            distances[begin:end] = values[row + 1 :]
    tree: Tree = linkage(distances, "average")
    return tree


def order_of_leaves(tree: Tree | None, n: int) -> Codes:
    """Return the order of the stocks in which clusters are neighbours, [N]."""
    from scipy.cluster.hierarchy import leaves_list

    return np.arange(n) if tree is None else np.asarray(leaves_list(tree), dtype=np.int64)


def cut_tree(tree: Tree | None, n: int, n_clusters: int) -> Codes:
    """Return the cluster of each stock, from 0, when the tree is cut into at most n clusters."""
    from scipy.cluster.hierarchy import fcluster

    if tree is None:
        return np.zeros(n, dtype=np.int64)
    return np.asarray(fcluster(tree, n_clusters, "maxclust"), dtype=np.int64) - 1


def adjusted_rand_index(first: Codes, second: Codes) -> float:
    """Return the agreement of two partitions: 1 if they are equal, 0 as by chance.

    Hubert and Arabie, "Comparing partitions", Journal of Classification 1985.
    https://doi.org/10.1007/BF01908075
    NaN if both put all stocks into one group, or each into its own.
    """

    def pairs(counts: npt.NDArray[np.int64]) -> float:
        return float((counts * (counts - 1) // 2).sum())

    table = np.zeros((first.max() + 1, second.max() + 1), dtype=np.int64)
    np.add.at(table, (first, second), 1)
    both, one, other = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    expected = one * other / max(pairs(np.array([len(first)])), 1)
    largest = (one + other) / 2
    return (both - expected) / (largest - expected) if largest != expected else np.nan
