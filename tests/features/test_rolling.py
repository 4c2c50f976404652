"""Rolling statistics agree with pandas, and with numbers worked by hand."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import Tensor

from alphazoo.features.moments import Moments, Trend
from alphazoo.features.rolling import Maximum, Ordered, Position, Rank, Sums, lagged

nan = float("nan")
Pandas = Callable[["pd.api.typing.Rolling"], pd.DataFrame]

STATISTICS: dict[str, tuple[Callable[[Tensor, int], Tensor], Pandas]] = {
    "sum": (lambda x, n: Sums(x, n).sum(n), lambda r: r.sum()),
    "mean": (lambda x, n: Sums(x, n).mean(n), lambda r: r.mean()),
    "std": (lambda x, n: Moments(x, longest=n).std(n), lambda r: r.std()),
    "max": (lambda x, n: Maximum(x, n).value(n), lambda r: r.max()),
    "min": (lambda x, n: -Maximum(-x, n).value(n), lambda r: r.min()),
    "rank": (lambda x, n: Rank(x, n).rank(n), lambda r: r.rank(pct=True)),
    "high": (lambda x, n: Ordered(x, n).quantile(n, 0.8), lambda r: r.quantile(0.8)),
    "low": (lambda x, n: Ordered(x, n).quantile(n, 0.2), lambda r: r.quantile(0.2)),
    "argmax": (
        lambda x, n: Position(x, n).position(n),
        lambda r: r.apply(lambda w: w.argmax() + 1, raw=True),
    ),
}


def panel(seed: int = 0) -> Tensor:
    """100 days of ties, gaps, a constant stock, one that is listed late, one that never is."""
    random = torch.Generator().manual_seed(seed)
    x = 100 + torch.randn(100, 8, generator=random).cumsum(0).round(decimals=1)
    x[torch.rand(x.shape, generator=random) < 0.1] = nan
    x[:, 3] = 7.7
    x[:40, 4] = nan
    x[:, 5] = nan
    x[20:90, 6] = nan
    return x


def of_listed(x: Tensor, pandas: Callable[[pd.Series], pd.Series]) -> np.ndarray:
    """A statistic of pandas, stock by stock, from the first value on as in files of Qlib."""
    frame = pd.DataFrame(x.double().numpy())
    columns = [pandas(column[column.first_valid_index() :]) for _, column in frame.items()]
    return pd.concat(columns, axis=1).reindex(frame.index).to_numpy()


@pytest.mark.parametrize("n", [1, 2, 5, 7, 30, 60, 150])
@pytest.mark.parametrize("name", STATISTICS)
def test_statistics_are_those_of_pandas(name: str, n: int) -> None:
    ours, theirs = STATISTICS[name]
    x = panel()
    expected = of_listed(x, lambda column: theirs(column.rolling(n, min_periods=1)))
    np.testing.assert_allclose(ours(x, n), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [2, 5, 30])
def test_correlation_is_that_of_pandas(n: int) -> None:
    x, y = panel(), panel(seed=1)
    y[:, 3] = x[:, 2]
    both = (pd.DataFrame(series.double().numpy()) for series in (x, y))
    left, right = both
    expected = left.rolling(n, min_periods=1).corr(right)
    flat = sum(
        z.where(left.notna() & right.notna()).rolling(n, min_periods=1).std() < 1e-6
        for z in (left, right)
    )
    found = Moments(x, y, longest=n).correlation(n)
    np.testing.assert_allclose(found, expected.mask(flat > 0), atol=1e-6)


@pytest.mark.parametrize("n", [3, 10, 60])
def test_the_line_is_that_of_scipy(n: int) -> None:
    x = panel()
    trend = Trend(x, n)
    found = torch.stack([trend.slope(n), trend.r_squared(n), trend.residual(n)], dim=2)
    for day, stock in [(70, 0), (99, 1), (45, 4), (95, 6)]:
        window = x[max(0, day - n + 1) : day + 1, stock].double().numpy()
        days = np.flatnonzero(np.isfinite(window))
        line = stats.linregress(days, window[days])
        residual = window[-1] - line.intercept - line.slope * (len(window) - 1)
        np.testing.assert_allclose(
            found[day, stock], [line.slope, line.rvalue**2, residual], rtol=1e-6, atol=1e-9
        )


def test_the_line_has_the_same_bits_anywhere_in_the_history() -> None:
    x = panel().repeat(40, 1)
    whole, part = Trend(x, 30), Trend(x[3000:], 30)
    for n in (7, 30):
        for name in ("std", "slope", "r_squared", "residual"):
            late, early = getattr(whole, name)(n)[3030:], getattr(part, name)(n)[30:]
            assert torch.equal(late.nan_to_num(-9), early.nan_to_num(-9)), (name, n)


def test_the_line_by_hand() -> None:
    """Through 1, 2, 4 on days 1, 2, 3: slope 3/2, at day 3 it is 7/3 + 3/2; r = 3 / sqrt(28/3)."""
    trend = Trend(torch.tensor([[9.0], [1.0], [2.0], [4.0]]), 3)
    assert trend.slope(3)[3].item() == pytest.approx(1.5)
    assert trend.residual(3)[3].item() == pytest.approx(4 - 7 / 3 - 1.5)
    assert trend.r_squared(3)[3].item() == pytest.approx(9 / (2 * 14 / 3))


def test_the_line_skips_a_missing_day_by_hand() -> None:
    """Through 1 on day 1 and 4 on day 3, with day 2 missing: slope 3/2, no residual."""
    trend = Trend(torch.tensor([[1.0], [nan], [4.0]]), 3)
    assert trend.slope(3).flatten().tolist()[2] == pytest.approx(1.5)
    assert trend.residual(3)[2].item() == pytest.approx(0, abs=1e-12)
    assert trend.slope(3)[:2].isnan().all()  # one value has no slope


def test_a_flat_series_has_no_correlation_and_a_deviation_of_exactly_zero() -> None:
    flat = torch.full((50, 1), 1234.567)
    flat[:20] = torch.linspace(1, 1e6, 20).unsqueeze(1)
    moments = Trend(flat, 10)
    assert moments.std(10)[29:].unique().tolist() == [0]
    assert moments.r_squared(10)[29:].isnan().all()
    assert moments.slope(10)[29:].unique().tolist() == [0]


def test_moves_that_are_too_small_do_not_correlate() -> None:
    """A deviation of up to 2e-5 is none, of either series."""
    x = torch.randn(30, 1, generator=torch.Generator().manual_seed(0)).double()
    for size, known in ((1e-6, False), (1e-3, True)):
        small = size * x.roll(1, 0) + 1
        for pair in ((x, small), (small, x)):
            assert Moments(*pair, longest=10).correlation(10)[9:].isfinite().all() == known


def test_small_moves_after_large_values_keep_their_deviation() -> None:
    """What running totals would lose: a deviation of 1e-3 after values of 1e9."""
    x = torch.full((40, 1), 1e9)
    x[20:] = 1 + 1e-3 * torch.arange(20.0).unsqueeze(1)
    expected = pd.Series(x[20:, 0].double().numpy()).rolling(5).std()
    np.testing.assert_allclose(Moments(x, longest=5).std(5)[24:, 0], expected[4:], rtol=1e-6)


def test_positions_by_hand() -> None:
    """Of equals the oldest; windows begin with the stock; a missing day passes for the largest."""
    x = torch.tensor([[nan], [3.0], [5.0], [5.0], [1.0], [nan], [2.0], [1.0], [0.0]])
    found = Position(x, 3).position(3).flatten()
    np.testing.assert_array_equal(found, [nan, 1, 2, 2, 1, 3, 2, 1, 1])


def test_a_lag_longer_than_the_history_is_missing() -> None:
    assert lagged(torch.ones(3, 2), 5).isnan().all()
    assert lagged(torch.arange(3.0).view(3, 1), 1)[1:].flatten().tolist() == [0, 1]
