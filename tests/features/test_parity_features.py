"""Alpha158 and the market state are those of Qlib's expressions. Needs the extra ``parity``."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import write_qlib

from alphazoo.config import compose, instantiate
from alphazoo.data.state import MarketState
from alphazoo.features.alpha158 import COLUMNS
from alphazoo.market.market import Market

qlib = pytest.importorskip("qlib", reason="compares with pyqlib: pip install 'alphazoo[parity]'")


def traded_frame() -> pd.DataFrame:
    """A dozen stocks of 150 days; ST9 is listed late, ST8 ends early.

    Differences that these prices avoid: a day without volume that repeats the last price (to Qlib a
    traded day, to us a suspended one), and ten days and more without a move of the price (pandas'
    running variance leaves a remainder, which WVMA divides by 1e-12; ours is 0).
    """
    random = np.random.default_rng(0)
    dates = pd.bdate_range("2015-01-01", periods=150)
    frames = []
    for number in range(12):
        close = 50 * np.exp(np.cumsum(0.02 * random.standard_normal(150)))
        close = close.round(1) if number < 6 else close  # with ties
        open_ = close * np.exp(0.005 * random.standard_normal(150))
        frame = pd.DataFrame(
            {
                "date": dates,
                "symbol": f"ST{number}",
                "open": open_,
                "high": np.maximum(open_, close) * (1 + 0.01 * random.random(150)),
                "low": np.minimum(open_, close) * (1 - 0.01 * random.random(150)),
                "close": close,
                "volume": random.integers(1_000, 9_000_000, 150).astype(float),
            }
        )
        fields = ["open", "high", "low", "close", "volume"]
        if number == 3:  # flat: no correlation, no r-squared
            frame.loc[40:46, fields] = frame.loc[40, fields].to_numpy()
        if number % 3 == 1:
            frame.loc[random.random(150) < 0.1, fields] = np.nan
        if number in (4, 7):
            frame.loc[30:100, fields] = np.nan  # longer than the longest window
        frames.append(frame.iloc[{9: slice(80, 150), 8: slice(0, 110)}.get(number, slice(150))])
    return pd.concat(frames)


def of_qlib(folder: Path, symbols: list[str], expressions: list[str]) -> pd.DataFrame:
    """Qlib's values of some expressions, a row per stock and day that it has."""
    from qlib.data import D

    qlib.init(provider_uri=str(folder), kernels=1, joblib_backend="threading", logging_level=40)
    return D.features(symbols, expressions)


def test_all_columns_equal_those_of_the_reference(tmp_path: Path) -> None:
    from qlib.contrib.data.loader import Alpha158DL

    folder = write_qlib(tmp_path / "qlib", traded_frame())
    market = Market.from_qlib(folder, universe="all")
    expressions, names = Alpha158DL.get_feature_config()
    theirs = of_qlib(folder, list(market.symbols), expressions).set_axis(names, axis=1)
    assert names == list(COLUMNS)
    features = instantiate(compose("features=alpha158").features)
    rows = market.dates.get_indexer(theirs.index.get_level_values("datetime"))
    stocks = pd.Index(market.symbols).get_indexer(theirs.index.get_level_values("instrument"))
    ours = features.bind(market).parts[0][:, rows, stocks].numpy()
    assert len(rows) == len(traded_frame())
    for name, panel in zip(COLUMNS, ours, strict=True):
        np.testing.assert_allclose(panel, theirs[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_market_state_is_what_the_published_expressions_give(tmp_path: Path) -> None:
    """Of indices that are whole, have days missing or begin late, masked onto a stock.

    Not of one that ends: days after it are missing ones to us, as nobody knew that it would not
    come back.
    """
    folder = write_qlib(tmp_path / "qlib", traded_frame())
    indices = ["ST0", "ST4", "ST9"]
    market = Market.from_qlib(folder, universe="all", indices=indices)
    expressions = []
    for symbol in indices:
        expressions.append(f"Mask($close/Ref($close,1)-1, '{symbol.lower()}')")
        for n in (5, 10, 20, 30, 60):
            expressions += [
                f"Mask({statistic}, '{symbol.lower()}')"
                for statistic in (
                    f"Mean($close/Ref($close,1)-1,{n})",
                    f"Std($close/Ref($close,1)-1,{n})",
                    f"Mean($volume,{n})/$volume",
                    f"Std($volume,{n})/$volume",
                )
            ]
    theirs = of_qlib(folder, ["ST0"], expressions)
    state = MarketState.of(market)
    assert len(theirs) == len(market.dates)
    for column, (name, values) in zip(state.panel.T, theirs.items(), strict=True):
        np.testing.assert_allclose(column, values, rtol=1e-4, atol=1e-6, err_msg=name)
