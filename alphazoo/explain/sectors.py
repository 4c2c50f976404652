"""Attention between sectors: shares, lift, and who gives and receives attention.

The names from, to, net and total are those of Diebold and Yilmaz, "Better to give than to receive:
predictive directional measurement of volatility spillovers", International Journal of Forecasting
2012, https://doi.org/10.1016/j.ijforecast.2011.02.006. There they are shares of the variance of
forecast errors; here they are shares of attention, which does not measure an effect on prices.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from alphazoo.data.days import DayBatch

NO_SECTOR = "no sector"
ROLLING = 20  # trading days


class Groups(NamedTuple):
    """The sector of each stock of a day.

    Attributes:
        names: [G], sectors that have stocks on the day, ``NO_SECTOR`` last.
        codes: [N], the place of each stock's sector in ``names``.
    """

    names: list[str]
    codes: Tensor

    @property
    def sizes(self) -> Tensor:
        """Number of stocks of each sector, [G]."""
        return torch.bincount(self.codes, minlength=len(self.names))


def sectors_of(day: DayBatch, concepts: tuple[str, ...]) -> Groups:
    """Return the concept of each stock in which it has the largest weight."""
    outside = day.concepts.new_zeros(len(day.stocks), 1)  # there may be no concepts
    weights, codes = torch.cat([day.concepts, outside], dim=1).max(dim=1)
    codes = codes.where(weights > 0, len(concepts))
    present, places = torch.unique(codes, return_inverse=True)
    names = [*concepts, NO_SECTOR]
    return Groups([names[code] for code in present.tolist()], places)


def sector_matrix(matrix: Tensor, groups: Groups) -> Tensor:
    """Return B [G, G], B_gh = mean over i in g of sum over j in h of A_ij.

    Stocks that attend to nobody are left out; a sector of such stocks has NaN.
    """
    member = torch.nn.functional.one_hot(groups.codes, len(groups.names)).to(matrix.dtype)
    shares = matrix @ member  # [N, G]
    attends = (shares.sum(dim=1) > 0).to(matrix.dtype)
    return (member.T @ shares) / (member.T @ attends).unsqueeze(1)


def sector_table(b: Tensor, groups: Groups) -> pd.DataFrame:
    """Return ``sector, other, share, lift``, where lift is share over chance.

    Chance is the other sector's part of the stocks.

    A stock that attends to all stocks equally gives a lift of 1 to every sector.
    """
    expected = groups.sizes / len(groups.codes)
    g = len(groups.names)
    return pd.DataFrame(
        {
            "sector": np.repeat(groups.names, g),
            "other": np.tile(groups.names, g),
            "share": b.flatten().numpy(),
            "lift": (b / expected).flatten().numpy(),
        }
    )


def connectedness_table(b: Tensor, groups: Groups) -> pd.DataFrame:
    """Return ``sector, stocks, from_others, to_others, net, to_lift`` of a sector matrix.

    ``to_lift`` is ``to_others`` over its value if every stock attended to all stocks equally.
    """
    between = b.clone().fill_diagonal_(0).nan_to_num()
    given, received = between.sum(dim=1), between.sum(dim=0)
    expected = (len(groups.names) - 1) * groups.sizes / len(groups.codes)
    return pd.DataFrame(
        {
            "sector": groups.names,
            "stocks": groups.sizes.numpy(),
            "from_others": given.numpy(),
            "to_others": received.numpy(),
            "net": (received - given).numpy(),
            "to_lift": (received / expected).numpy(),
        }
    )


def within_lift(b: Tensor, groups: Groups) -> float:
    """Return the mean lift of stocks' own sectors, weighted by stocks; 1 is chance."""
    sizes = groups.sizes
    lift = b.diagonal() * len(groups.codes) / sizes
    known = lift.isfinite()
    return float((lift[known] * sizes[known]).sum() / sizes[known].sum())


def rotation_table(connectedness: pd.DataFrame) -> pd.DataFrame:
    """Return ``date, sector, to_lift, leader``: the rolling mean over days, and who has the most.

    Args:
        connectedness: Rows of `connectedness_table` with a column ``date``.
    """
    wide = connectedness.pivot_table(index="date", columns="sector", values="to_lift")
    mean = wide.rolling(ROLLING, min_periods=1).mean()
    leader = mean.idxmax(axis=1)
    long = mean.reset_index().melt("date", var_name="sector", value_name="to_lift").dropna()
    long = long.sort_values(["date", "sector"], ignore_index=True)
    return long.assign(leader=long["sector"].to_numpy() == leader.loc[long["date"]].to_numpy())


def mean_correlation(returns: npt.NDArray[np.float64]) -> float:
    """Return the mean pairwise correlation of the columns of returns [days, N] without NaN.

    With z the standardised columns, it is (N var(mean of z) - 1) / (N - 1).
    """
    deviation = returns.std(axis=0)
    z = (returns - returns.mean(axis=0))[:, deviation > 0] / deviation[deviation > 0]
    n = z.shape[1]
    return float((n * z.mean(axis=1).var() - 1) / (n - 1)) if n > 1 else np.nan
