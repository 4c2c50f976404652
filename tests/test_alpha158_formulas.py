"""All 158 columns of Alpha158, from their formulas by pandas and numpy, on stocks with gaps."""

import numpy as np
import pandas as pd
import pytest
import torch

from alphazoo.data.alpha158 import COLUMNS, DAYS
from alphazoo.data.market import Market
from alphazoo.data.panels import Panels

EPSILON = 1e-12
FLAT = 2e-5  # a smaller standard deviation counts as none, as in Qlib
N_DAYS = 150


@pytest.fixture(scope="module")
def market() -> Market:
    """Whole prices with ties; single days and 70 days missing; listed late; flat for a time."""
    random = np.random.default_rng(7)
    shape = (N_DAYS, 5)
    close = (50 * np.exp(np.cumsum(0.02 * random.standard_normal(shape), axis=0))).round(1)
    close[60:75, 4] = close[60, 4]
    open_ = close * np.exp(0.01 * random.standard_normal(shape))
    high = np.maximum(open_, close) * (1 + 0.02 * random.random(shape))
    low = np.minimum(open_, close) * (1 - 0.02 * random.random(shape))
    high, low = high.round(0) + 1, low.round(0) - 1  # whole numbers: equal highs and lows
    fields = {
        "open": open_,
        "high": high,
        "low": low,
        "close": close,
        "vwap": (high + low + close) / 3,
        "volume": random.integers(1_000, 9_000_000, shape).astype(float),
    }
    fields["vwap"][30:40] = np.nan
    gaps = np.zeros(shape, dtype=bool)
    gaps[:, 1] = random.random(N_DAYS) < 0.15
    gaps[40:110, 2] = True
    gaps[:85, 3] = True
    fields["volume"][gaps] = 0
    return Market.from_arrays(
        name="gaps",
        dates=pd.bdate_range("2020-01-01", periods=N_DAYS),
        symbols=list("ABCDE"),
        fields={name: panel.astype(np.float32) for name, panel in fields.items()},
        members=np.ones(shape, dtype=bool),
    )


def line(window: np.ndarray) -> tuple[float, float, float]:
    """Slope, r-squared and last residual of the regression on the days of a window."""
    known = np.isfinite(window)
    if known.sum() < 2:
        return np.nan, np.nan, np.nan
    days, values = np.arange(len(window))[known], window[known]
    slope, intercept = np.polyfit(days, values, 1)
    fit = intercept + slope * days
    share = 1 - ((values - fit) ** 2).sum() / ((values - values.mean()) ** 2).sum()
    flat = values.std(ddof=1) <= FLAT
    return slope, np.nan if flat else share, window[-1] - intercept - slope * (len(window) - 1)


def of_windows(x: pd.Series, n: int, part: int) -> pd.Series:
    return x.rolling(n, min_periods=1).apply(lambda window: line(window)[part], raw=True)


def correlation(x: pd.Series, y: pd.Series, n: int) -> pd.Series:
    known = x.notna() & y.notna()
    x, y = x.where(known), y.where(known)
    left, right = (z.rolling(n, min_periods=2) for z in (x, y))
    return left.corr(y).mask((left.std() <= FLAT) | (right.std() <= FLAT))


def moves(x: pd.Series, n: int) -> tuple[pd.Series, pd.Series, pd.Series]:
    """SUMP, SUMN and SUMD."""
    change = x - x.shift(1)
    rises, falls, both = (
        part.rolling(n, min_periods=1).sum()
        for part in (change.clip(lower=0), (-change).clip(lower=0), change.abs())
    )
    whole = both + EPSILON
    return rises / whole, falls / whole, (rises - falls) / whole


def columns_of(stock: pd.DataFrame) -> dict[str, pd.Series]:
    """Every column of one stock, from its first price on."""
    o, h, low, c, v = (stock[name] for name in ("open", "high", "low", "close", "volume"))
    top, bottom, spread = np.maximum(o, c), np.minimum(o, c), h - low + EPSILON
    found = {
        "KMID": (c - o) / o,
        "KLEN": (h - low) / o,
        "KMID2": (c - o) / spread,
        "KUP": (h - top) / o,
        "KUP2": (h - top) / spread,
        "KLOW": (bottom - low) / o,
        "KLOW2": (bottom - low) / spread,
        "KSFT": (2 * c - h - low) / o,
        "KSFT2": (2 * c - h - low) / spread,
        "OPEN0": o / c,
        "HIGH0": h / c,
        "LOW0": low / c,
        "VWAP0": stock["vwap"] / c,
    }
    weighted = (c / c.shift(1) - 1).abs() * v
    for n in DAYS:
        closes, highs, lows, volumes, weights = (
            x.rolling(n, min_periods=1) for x in (c, h, low, v, weighted)
        )
        highest, lowest = highs.max(), lows.min()
        at_high = highs.apply(lambda window: window.argmax() + 1, raw=True)
        at_low = lows.apply(lambda window: window.argmin() + 1, raw=True)
        rises, falls = (
            yes.astype(float).rolling(n, min_periods=1).mean()
            for yes in (c > c.shift(1), c < c.shift(1))
        )
        of_n = {
            "ROC": c.shift(n) / c,
            "MA": closes.mean() / c,
            "STD": closes.std() / c,
            "BETA": of_windows(c, n, 0) / c,
            "RSQR": of_windows(c, n, 1),
            "RESI": of_windows(c, n, 2) / c,
            "MAX": highest / c,
            "MIN": lowest / c,
            "QTLU": closes.quantile(0.8) / c,
            "QTLD": closes.quantile(0.2) / c,
            "RANK": closes.rank(pct=True),
            "RSV": (c - lowest) / (highest - lowest + EPSILON),
            "IMAX": at_high / n,
            "IMIN": at_low / n,
            "IMXD": (at_high - at_low) / n,
            "CORR": correlation(c, np.log(v + 1), n),
            "CORD": correlation(c / c.shift(1), np.log(v / v.shift(1) + 1), n),
            "CNTP": rises,
            "CNTN": falls,
            "CNTD": rises - falls,
            "VMA": volumes.mean() / (v + EPSILON),
            "VSTD": volumes.std() / (v + EPSILON),
            "WVMA": weights.std() / (weights.mean() + EPSILON),
        }
        of_n |= dict(zip(("SUMP", "SUMN", "SUMD"), moves(c, n), strict=True))
        of_n |= dict(zip(("VSUMP", "VSUMN", "VSUMD"), moves(v, n), strict=True))
        found |= {f"{name}{n}": values for name, values in of_n.items()}
    return found


def test_every_column_is_its_formula(market: Market) -> None:
    found = Panels(COLUMNS, window=1).bind(market).parts[0]
    for number, symbol in enumerate(market.symbols):
        stock = pd.DataFrame({name: x[:, number].double() for name, x in market.fields.items()})
        first = stock["close"].first_valid_index()
        expected = columns_of(stock[first:])
        assert expected.keys() == set(COLUMNS)
        for name, ours in zip(COLUMNS, found[:, :, number], strict=True):
            np.testing.assert_allclose(
                ours[first:],
                expected[name],
                rtol=2e-4,
                atol=2e-5,
                err_msg=f"{name} of {symbol}",
            )
            assert ours[:first].isnan().all()


def test_every_column_is_known_on_many_days_and_differs_from_the_others(market: Market) -> None:
    """What the comparison above has seen: no column is NaN or another one."""
    found = Panels(COLUMNS, window=1).bind(market).parts[0]
    assert found.isfinite().sum(dim=(1, 2)).min() > 100
    flat = found.nan_to_num().flatten(1)
    assert len(torch.unique(flat, dim=0)) == len(COLUMNS)
