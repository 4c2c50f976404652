"""The code of docs/data.md that turns tables of yfinance, akshare and fundamentals into a market.

Both libraries need a network; small tables of the shapes that they return stand in for them.
"""

import datetime
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from alphazoo.market.market import Market

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
DAYS = pd.to_datetime(["2020-08-28", "2020-08-31", "2020-09-01"])


def code_with(word: str) -> str:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (found,) = (block for block in blocks if word in block)
    return str(found)


def run(word: str, **known: Any) -> dict[str, Any]:
    exec(compile(code_with(word), PAGE.name, "exec"), known)
    return known


def yahoo(tickers: list[str], *, start: str, auto_adjust: bool) -> pd.DataFrame:
    """Prices of each ticker are 1, 2, ... times these; the second has none on the last day."""
    assert not auto_adjust
    rows = {
        "Adj Close": [98.0, 99.0, 120.0],  # a dividend before the last day
        "Close": [100.0, 101.0, 120.0],
        "High": [102.0, 103.0, 121.0],
        "Low": [99.0, 100.0, 110.0],
        "Open": [100.0, 102.0, 111.0],
        "Volume": [1000.0, 2000.0, 3000.0],
    }
    wide = pd.DataFrame(
        {
            (name, ticker): [x * count for x in values]
            for name, values in rows.items()
            for count, ticker in enumerate(tickers, start=1)
        },
        index=pd.DatetimeIndex(DAYS, name="Date"),
    )
    wide.columns.names = ["Price", "Ticker"]
    wide.loc[DAYS[-1], (slice(None), tickers[1])] = float("nan")
    return wide


def eastmoney(*, symbol: str, period: str, start_date: str, adjust: str) -> pd.DataFrame:
    """The columns of stock_zh_a_hist; the stock splits two for one on the last day."""
    factor = {"": [1.0, 1.0, 1.0], "hfq": [1.0, 1.0, 2.0]}[adjust]
    prices = {
        "开盘": [10.0, 10.2, 5.2],
        "收盘": [10.0, 10.4, 5.3],
        "最高": [10.1, 10.5, 5.4],
        "最低": [9.9, 10.1, 5.1],
    }
    adjusted = {n: [a * b for a, b in zip(x, factor, strict=True)] for n, x in prices.items()}
    days = [datetime.date(day.year, day.month, day.day) for day in DAYS]
    traded = {"成交量": [10, 20, 40], "成交额": [10_000.0, 20_600.0, 21_000.0]}
    more = {"振幅": 1.0, "涨跌幅": 0.5, "涨跌额": 0.1, "换手率": 0.2}
    return pd.DataFrame({"日期": days, "股票代码": symbol, **adjusted, **traded, **more})


def test_a_table_of_yfinance_becomes_a_market(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yfinance", SimpleNamespace(download=yahoo))
    market: Market = run("yfinance")["market"]
    assert market.symbols == ("AAPL", "MSFT")
    assert market.dates.equals(DAYS.as_unit("ns"))
    close, volume = market.field("close"), market.field("volume")
    assert close[:, 0].tolist() == pytest.approx([98, 99, 120])
    assert volume[:, 0].tolist() == pytest.approx([1000 / 0.98, 2000 * 101 / 99, 3000])
    assert close[:2, 1].tolist() == pytest.approx([196, 198])
    assert not market.members[2, 1]


def test_tables_of_akshare_become_a_market(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "akshare", SimpleNamespace(stock_zh_a_hist=eastmoney))
    market: Market = run("akshare")["market"]
    assert market.symbols == ("000001", "600519")
    close, vwap = market.field("close")[:, 0], market.field("vwap")[:, 0]
    assert close.tolist() == pytest.approx([10, 10.4, 10.6])  # no fall by half
    assert vwap.tolist() == pytest.approx([10, 10.3, 10.5])
    assert market.field("volume")[:, 0].tolist() == pytest.approx([1000, 2000, 2000])


def test_a_statement_is_known_on_the_day_after_its_announcement() -> None:
    prices = pd.DataFrame({"date": [*DAYS, *DAYS], "symbol": ["A"] * 3 + ["B"] * 3, "close": 50.0})
    statements = pd.DataFrame(
        {
            "symbol": ["A", "A", "B"],
            "period": pd.to_datetime(["2020-03-31", "2020-06-30", "2020-06-30"]),
            "announced": pd.to_datetime(["2020-04-30", "2020-08-31", "2020-08-30"]),
            "eps": [1.0, 2.0, 3.0],
        }
    )
    table = run("merge_asof", prices=prices, statements=statements)["table"]
    found = table.set_index(["symbol", "date"]).sort_index()["earnings_yield"]
    assert found["A"].tolist() == [0.02, 0.02, 0.04]
    assert pd.isna(found["B"].iloc[0])
    assert found["B"].tolist()[1:] == [0.06, 0.06]
