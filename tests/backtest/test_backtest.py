"""The backtest: hand-worked accounts, its timing, its bookkeeping, and what it refuses."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import small_frame

from alphazoo.backtest.account import Account
from alphazoo.backtest.dividends import mean_dividends
from alphazoo.backtest.exchange import Exchange, Quotes
from alphazoo.backtest.limits import find_board
from alphazoo.backtest.result import Backtest
from alphazoo.backtest.risk import definitions, risk_metrics
from alphazoo.backtest.run import run_backtest
from alphazoo.backtest.strategies import EqualTopk, LongShort, Strategy, TopkDropout
from alphazoo.config import compose, config_dir, instantiate
from alphazoo.errors import InputError
from alphazoo.market.market import Market
from alphazoo.market.returns import forward_return

FREE = Exchange(buy_cost=0.0, sell_cost=0.0, min_cost=0.0, limit=None, trade_unit=None)
COSTLY = dataclasses.replace(FREE, buy_cost=0.001, sell_cost=0.002)
SETTINGS = sorted(
    {file.stem for file in (config_dir() / "backtest").glob("*.yaml")} - {"base", "none"}
)
STRATEGIES = sorted(file.stem for file in (config_dir() / "backtest" / "strategy").glob("*.yaml"))


def topk(
    k: int,
    n_drop: int,
    hold_thresh: int = 1,
    risk_degree: float = 1.0,
    only_tradable: bool = False,
) -> TopkDropout:
    return TopkDropout(k, n_drop, hold_thresh, risk_degree, only_tradable)


def market_of(close: object, **options: object) -> Market:
    """A market of prices [d, S] from 2020-01-01 on; NaN is a suspended day."""
    panel = np.array(close, dtype=np.float32)
    fields = {name: panel.copy() for name in ("open", "high", "low", "close", "volume")}
    n_days, n_stocks = panel.shape
    return Market.from_arrays(
        name="toy",
        dates=pd.bdate_range("2020-01-01", periods=n_days),
        symbols=[f"S{i:03}" for i in range(n_stocks)],
        fields=fields,
        members=np.ones(panel.shape, dtype=bool),
        **options,
    )


def scores_of(market: Market, panel: object, first: int = 0) -> pd.DataFrame:
    """A score table from [d, S] for the days from ``first`` on; NaN is no score."""
    wide = pd.DataFrame(
        np.array(panel, dtype=float), columns=pd.Index(market.symbols, name="symbol")
    )
    wide.index = pd.Index(market.dates[first : first + len(wide)], name="date")
    return wide.melt(ignore_index=False, value_name="score").dropna().reset_index()


def backtest(
    market: Market,
    scores: object,
    strategy: Strategy,
    exchange: Exchange = FREE,
    account: float = 1000.0,
    benchmark: str | None = "cash",
    periods: int = 252,
    **options: object,
) -> Backtest:
    table = scores if isinstance(scores, pd.DataFrame) else scores_of(market, scores)
    return run_backtest(
        table,
        market,
        strategy=strategy,
        exchange=exchange,
        account=account,
        benchmark=benchmark,
        periods=periods,
        **options,
    )


def held_on(result: Backtest, day: int) -> dict[str, float]:
    """Amounts by symbol after the close of a day of the backtest."""
    rows = result.positions[result.positions["date"] == result.days["date"][day]]
    return dict(zip(rows["symbol"], rows["amount"], strict=True))


def random_market(n_days: int = 400, n_stocks: int = 40, seed: int = 0) -> Market:
    random = np.random.default_rng(seed)
    moves = 0.02 * random.standard_normal((n_days, n_stocks))
    return market_of(50 * np.cumprod(1 + moves, axis=0))


# accounts worked by hand

PRICES = [[10, 20, 50], [10, 20, 50], [11, 20, 50], [11, 22, 50], [11, 22, 50]]


def test_an_account_worked_by_hand() -> None:
    """Day 1 buys 95 of S000 at 10; day 2 sells them at 11 and buys S001; day 3 earns."""
    market = market_of(PRICES)
    result = backtest(market, [[3, 2, 1], [1, 3, 2]], topk(1, 1, risk_degree=0.95), COSTLY)
    days = result.days
    assert [f"{date:%Y-%m-%d}" for date in days["date"]] == [
        "2020-01-02",
        "2020-01-03",
        "2020-01-06",
    ]
    assert days["value"].tolist() == pytest.approx([999.05, 1090.922638, 1194.658838])
    assert days["cash"].tolist() == pytest.approx([49.05, 53.560638, 53.560638])
    assert days["return"].tolist() == pytest.approx(
        [0.0, 1094.05 / 999.05 - 1, 1194.658838 / 1090.922638 - 1]
    )
    assert days["cost"].tolist() == pytest.approx([0.00095, (2.09 + 1.037362) / 999.05, 0.0])
    assert days["turnover"].tolist() == pytest.approx([0.95, (1045 + 1037.362) / 999.05, 0.0])
    trades = result.trades
    assert trades["side"].tolist() == ["buy", "sell", "buy"]
    assert trades["symbol"].tolist() == ["S000", "S000", "S001"]
    assert trades["value"].tolist() == pytest.approx([950.0, 1045.0, 1037.362])
    assert trades["cost"].tolist() == pytest.approx([0.95, 2.09, 1.037362])
    assert held_on(result, 2) == {"S001": pytest.approx(1037.362 / 20)}


def test_the_worst_of_held_and_candidates_leave() -> None:
    """Held: 0, 1, 2, 3. Candidates of day 1: 5 and 4. The worst two of the six are 2 and 3."""
    market = market_of(np.full((5, 7), 10))
    scores = [[7, 6, 5, 4, 3, 2, 1], [7, 6, 2, 1, 4, 5, 0]]
    result = backtest(market, scores, topk(4, 2))
    assert set(held_on(result, 0)) == {"S000", "S001", "S002", "S003"}
    assert set(held_on(result, 1)) == {"S000", "S001", "S004", "S005"}


def test_a_candidate_worse_than_what_is_held_is_not_bought() -> None:
    market = market_of(np.full((5, 7), 10))
    scores = [[7, 6, 5, 4, 3, 2, 1], [7, 6, 4, 1, 3, 5, 0]]
    result = backtest(market, scores, topk(4, 2))  # 4 is a candidate, but among the worst two
    assert set(held_on(result, 1)) == {"S000", "S001", "S002", "S005"}


def test_nothing_is_replaced_with_n_drop_0() -> None:
    market = market_of(np.full((5, 4), 10))
    result = backtest(market, [[4, 3, 2, 1], [1, 2, 3, 4]], topk(2, 0))
    assert set(held_on(result, 2)) == {"S000", "S001"}


def test_ties_go_to_the_first_symbol_whatever_the_order_of_rows() -> None:
    market = market_of(np.full((4, 4), 10))
    table = scores_of(market, [[1, 2, 2, 2]])
    for rows in (table, table.iloc[::-1]):
        assert set(held_on(backtest(market, rows, topk(2, 1)), 0)) == {"S001", "S002"}


def test_a_suspended_stock_is_kept_and_still_replaced() -> None:
    prices = np.full((7, 3), 10.0)
    prices[2:4, 0] = np.nan
    scores = [[3, 2, 1], [np.nan, 2, 1], [np.nan, 2, 1], [np.nan, 2, 1]]
    result = backtest(market_of(prices), scores, topk(1, 1, risk_degree=0.5))
    held = [set(held_on(result, day)) for day in range(4)]
    assert held == [{"S000"}, {"S000", "S001"}, {"S000", "S001"}, {"S001"}]


def test_a_suspended_stock_takes_the_place_of_one_that_could_be_sold_unless_passed_over() -> None:
    """S000 is suspended and has no score; S001 is the worst that trades, S002 better."""
    prices = np.full((6, 3), 10.0)
    prices[2:5, 0] = np.nan
    scores = [[3, 2, 1], [np.nan, 1, 3], [np.nan, 1, 3]]
    stuck = backtest(market_of(prices), scores, topk(2, 1, risk_degree=0.5))
    passed = backtest(market_of(prices), scores, topk(2, 1, only_tradable=True, risk_degree=0.5))
    assert [set(held_on(stuck, 1)), set(held_on(passed, 1))] == [
        {"S000", "S001", "S002"},
        {"S000", "S002"},
    ]


def test_the_cash_of_what_cannot_be_bought_stays() -> None:
    """S000 is suspended on the day of the trade: its half of the cash is not spent."""
    prices = np.full((4, 3), 10.0)
    prices[1, 0] = np.nan
    result = backtest(market_of(prices), [[3, 2, 1]], topk(2, 1))
    assert held_on(result, 0) == {"S001": 50.0}
    assert result.days["cash"][0] == 500.0
    assert "1 orders were not filled: suspended or at the limit" in result.notes


@pytest.mark.parametrize("move", [1.1, 0.9])
def test_a_stock_at_its_limit_is_neither_bought_nor_sold(move: float) -> None:
    limited = dataclasses.replace(FREE, limit=0.095)
    prices = np.full((6, 3), 10.0)
    prices[1:, 0] *= move  # on the day it would be bought
    prices[3:, 1] *= move  # on the day it would be sold
    scores = [[3, 2, 1], [1, 3, 2], [3, 1, 2]]
    result = backtest(market_of(prices), scores, topk(1, 1, risk_degree=0.5), limited)
    assert [set(held_on(result, day)) for day in range(3)] == [set(), {"S001"}, {"S001", "S000"}]


@pytest.mark.parametrize(("limit", "bought"), [(0.5, False), (0.5000001, True)])
def test_a_move_of_exactly_the_limit_is_at_it(limit: float, bought: bool) -> None:
    """From 64 to 96: numbers without rounding."""
    prices = np.full((4, 2), 64.0)
    prices[1:, 0] = 96
    limited = dataclasses.replace(FREE, limit=limit)
    result = backtest(market_of(prices), [[2, 1]], topk(1, 1), limited)
    assert ("S000" in held_on(result, 0)) == bought


def test_the_limit_is_relative_to_the_last_price_before_a_suspension() -> None:
    limited = dataclasses.replace(FREE, limit=0.095)
    prices = np.full((6, 2), 10.0)
    prices[1:3, 0], prices[3:, 0] = np.nan, 12
    result = backtest(market_of(prices), [[np.nan, 1]] * 2 + [[2, 1]], topk(1, 1), limited)
    assert "S000" not in held_on(result, 2)


@pytest.mark.parametrize(
    ("close", "tradable"), [(10.95, False), (10.949, True), (9.05, False), (9.051, True)]
)
def test_the_limit_itself_is_at_the_limit(close: float, tradable: bool) -> None:
    """9.5%, up and down: as float32 both prices are a little nearer to 10."""
    limited = dataclasses.replace(FREE, limit=0.095)
    market = market_of([[10, 10]] * 1 + [[close, 10]] * 3)
    result = backtest(market, [[2, 1]], topk(1, 1), limited)
    assert ("S000" in held_on(result, 0)) == tradable


BOARDED = dataclasses.replace(FREE, limit="a_shares")


def traded_after(symbol: str, move: float, day: str, **columns: float) -> bool:
    """Whether a stock of a board can be traded on a day on which it moves so far."""
    market = market_of([[10.0], [10 * (1 + move)]])
    fields = {n: torch.tensor([[np.nan], [v]]) for n, v in columns.items()}
    dates = pd.DatetimeIndex([pd.Timestamp(day) - pd.Timedelta(days=3), pd.Timestamp(day)])
    market = dataclasses.replace(
        market, dates=dates, symbols=(symbol,), fields={**market.fields, **fields}
    )
    return bool(BOARDED.quotes(market, range(1, 2)).tradable[0, 0])


@pytest.mark.parametrize(
    ("symbol", "day", "limit"),
    [
        ("SH600000", "2020-08-24", 0.10),
        ("SZ000001", "2020-08-24", 0.10),
        ("SZ002594", "2024-01-02", 0.10),
        ("SZ300001", "2020-08-21", 0.10),
        ("SZ300001", "2020-08-24", 0.20),
        ("SZ301001", "2024-01-02", 0.20),
        ("SH688001", "2019-08-01", 0.20),
        ("SH689009", "2024-01-02", 0.20),
        ("BJ430047", "2022-01-04", 0.30),
        ("BJ920002", "2024-06-03", 0.30),
    ],
)
def test_limits_are_those_of_board_and_date(symbol: str, day: str, limit: float) -> None:
    """At 95% of the limit, up or down, there is no trade; just below there is."""
    for sign in (1, -1):
        assert not traded_after(symbol, sign * 0.95 * limit, day)
        assert traded_after(symbol, sign * (0.95 * limit - 0.0001), day)


@pytest.mark.parametrize(
    ("board", "symbols"),
    [
        ("main", "600000 SH600000 sh600000 sh.600000 600000.SH 600000.XSHG 600000.SS SHSE.600000"),
        ("main", "000001 000001.SZ XSHE000001 SH000300 SZ200002 SH900901 SZ430047 SH300001"),
        ("chinext", "300001 SZ300001 sz.300001 300750.XSHE SZSE.301001 302132.SZ"),
        ("star", "688001 SH688001 689009.XSHG"),
        ("beijing", "430047 830799.BJ BJ920002 bj.871981 920002 835185.BSE"),
        (None, "AAPL 60000 6000000 HK000700 SH600000.SH S001 600000.SH2"),
    ],
)
def test_the_board_of_a_symbol(board: str | None, symbols: str) -> None:
    assert {symbol: find_board(symbol) for symbol in symbols.split()} == dict.fromkeys(
        symbols.split(), board
    )


def test_an_st_stock_of_the_main_board_has_the_limit_of_st_stocks() -> None:
    assert not traded_after("SH600000", 0.0475, "2020-01-02", st=1)
    assert traded_after("SH600000", 0.0475, "2020-01-02", st=0)
    assert traded_after("SH600000", 0.0475, "2020-01-02", st=np.nan)
    assert not traded_after("SH600000", 0.0475, "2026-07-03", st=1)
    assert traded_after("SH600000", 0.0475, "2026-07-06", st=1)
    assert traded_after("SH688001", 0.1899, "2020-01-02", st=1)  # only of the main board


def test_the_limit_of_the_data_comes_before_the_rules() -> None:
    assert traded_after("SH600000", 0.40, "2020-01-02", limit=0.44)
    assert not traded_after("SH600000", 0.418, "2020-01-02", limit=0.44)
    assert not traded_after("SH600000", 0.0475, "2020-01-02", limit=0.05, st=0)
    assert not traded_after("SH600000", 0.095, "2020-01-02", limit=np.nan)
    assert traded_after("SH600000", 0.0949, "2020-01-02", limit=np.nan)


@pytest.mark.parametrize("column", [{"limit": 10.0}, {"limit": 0.0}, {"st": 2.0}])
def test_columns_of_the_data_that_are_no_limits_are_refused(column: dict[str, float]) -> None:
    (name, value) = next(iter(column.items()))
    message = f"column '{name}' of market 'toy' must .* 1 other values, such as {value:g} of SH60"
    with pytest.raises(InputError, match=message):
        traded_after("SH600000", 0.1, "2020-01-02", **column)


def test_a_table_may_bring_limits() -> None:
    """ST0 rises by 6% every day: with a limit of 5% on every second day it can be traded on the
    others.
    """
    frame = small_frame(n_days=6, n_stocks=1)
    for name in ("open", "high", "low", "close"):
        frame[name] = 10 * 1.06 ** np.arange(6)
    frame["limit"] = [np.nan, 0.05] * 3
    market = Market.from_table(frame, extra=["limit"])
    tradable = BOARDED.quotes(market, range(1, 6)).tradable[:, 0]
    assert tradable.tolist() == [False, True, False, True, False]


def test_there_is_no_limit_before_limits_were_introduced() -> None:
    assert traded_after("SH600000", 0.5, "1996-12-13")
    assert not traded_after("SH600000", 0.5, "1996-12-16")


def test_symbols_without_a_known_board_are_named() -> None:
    result = backtest(market_of(PRICES), [[3, 2, 1]], topk(1, 1), BOARDED)
    assert (
        "the board of 3 symbols is unknown, and the price limit of the main board is used: "
        "S000, S001, S002" in result.notes
    )


def test_the_published_limit_is_one_override_away() -> None:
    """A ChiNext stock at 10% in 2020-09 trades by its board, not by one limit for all."""
    by_board = instantiate(compose("backtest=a_shares").backtest.exchange)
    published = instantiate(
        compose("backtest=a_shares", "backtest.exchange.limit=0.095").backtest.exchange
    )
    market = market_of([[10], [11]])
    dates = pd.DatetimeIndex(["2020-09-01", "2020-09-02"])
    market = dataclasses.replace(market, symbols=("SZ300001",), dates=dates)
    assert by_board.quotes(market, range(1, 2)).tradable.item()
    assert not published.quotes(market, range(1, 2)).tradable.item()


def test_nothing_is_bought_without_a_free_place() -> None:
    """Held: 0, 1, 2, and from day 2 on 3 beside 2, too young to be sold. Then all are suspended."""
    prices = np.full((6, 8), 10.0)
    prices[3, :4] = np.nan
    scores = [[8, 7, 6, 5, 4, 3, 2, 1], [7, 6, 5, 8, 4, 3, 2, 1], [7, 6, 5, 8, 4, 3, 2, 1]]
    strategy = topk(3, 3, hold_thresh=2, risk_degree=0.5, only_tradable=True)
    result = backtest(market_of(prices), scores, strategy)
    four = {"S000", "S001", "S002", "S003"}
    assert [set(held_on(result, day)) for day in range(3)] == [four - {"S003"}, four, four]


def test_of_too_many_stocks_the_worst_are_sold() -> None:
    """Five are held where there should be two: one a day leaves, none is bought."""
    market = market_of(np.full((2, 9), 10.0))
    account = Account(100.0, 9, FREE)
    account.amounts[:5] = account.days_held[:5] = 1
    account.open_day(1, Quotes(*(field[0] for field in FREE.quotes(market, range(1, 2)))))
    topk(2, 1).trade(account, np.array([9.0, 8, 7, 6, 5, 4, 3, 2, 1]))
    assert account.held.tolist() == [0, 1, 2, 3]


def test_a_position_is_kept_for_hold_thresh_closes() -> None:
    market = market_of(np.full((8, 3), 10))
    scores = [[3, 2, 1], *[[1, 2, 3]] * 4]
    result = backtest(market, scores, topk(1, 1, hold_thresh=3, risk_degree=0.5))
    sold = result.trades[result.trades["side"] == "sell"].iloc[0]
    assert (sold["symbol"], sold["date"]) == ("S000", result.days["date"][3])


def test_a_position_that_is_bought_again_is_kept_again() -> None:
    market = market_of(np.full((8, 2), 10))
    scores = [[2, 1], [1, 2], [1, 2], [2, 1], [1, 2]]
    result = backtest(market, scores, topk(1, 1, hold_thresh=2, risk_degree=0.5))
    held = [set(held_on(result, day)) for day in range(5)]
    assert held == [{"S000"}, {"S000", "S001"}, {"S001"}, {"S000"}, {"S000", "S001"}]


def test_rounded_prices_do_not_cost_a_unit() -> None:
    """30 buy 300 at 0.1, of which the next float32 is a little more."""
    units = dataclasses.replace(FREE, trade_unit=100)
    market = market_of(np.full((4, 2), 0.1), factor=np.ones((4, 2), dtype=np.float32))
    result = backtest(market, [[2, 1]], topk(1, 1, risk_degree=0.5), units, account=60)
    assert result.trades["shares"].tolist() == [300]
    short = backtest(market, [[2, 1]], topk(1, 1), units, account=30)  # by half a millionth
    assert short.trades["shares"].tolist() == [200]


def test_shares_are_whole_units_of_unadjusted_ones() -> None:
    """At a factor of 4 an adjusted price of 40 is 10: 10,000 buy 1,000, 9,500 of them 900."""
    units = dataclasses.replace(FREE, trade_unit=100)
    factor = np.full((5, 2), 4, dtype=np.float32)
    factor[2:] = 4.1  # a dividend: 900 shares are no longer a multiple
    market = market_of(np.full((5, 2), 40), factor=factor)
    result = backtest(market, [[2, 1], [1, 2]], topk(1, 1, risk_degree=0.95), units, 10_000)
    trades = result.trades
    assert trades["side"].tolist() == ["buy", "sell", "buy"]
    assert trades["shares"].tolist() == pytest.approx([900, 900 * 4.1 / 4, 900])
    assert trades["amount"].tolist() == pytest.approx([225, 225, 900 / 4.1], rel=1e-6)


def test_without_a_factor_fractions_are_traded() -> None:
    units = dataclasses.replace(FREE, trade_unit=100)
    result = backtest(market_of(np.full((4, 2), 30)), [[2, 1]], topk(1, 1), units)
    assert result.trades["amount"].tolist() == pytest.approx([1000 / 30])
    assert "fractions of shares are traded" in " ".join(result.notes)


def test_an_account_too_small_for_a_unit_says_so() -> None:
    units = dataclasses.replace(FREE, trade_unit=100)
    market = market_of(np.full((4, 2), 30), factor=np.ones((4, 2), dtype=np.float32))
    result = backtest(market, [[2, 1]], topk(1, 1), units)
    assert result.trades.empty
    assert result.positions.empty
    assert "1 orders were not filled: below one trade unit, or not enough cash" in result.notes


def test_a_trade_costs_at_least_the_least() -> None:
    exchange = dataclasses.replace(COSTLY, min_cost=5.0)
    result = backtest(market_of(np.full((4, 3), 10)), [[3, 2, 1]], topk(2, 1), exchange)
    # 500 and what is left of the other 500 after both costs
    assert result.trades["value"].tolist() == pytest.approx([500, 490])
    assert result.days["cost"][0] == pytest.approx(0.01)


def test_cash_is_never_short_of_the_cost_of_sales() -> None:
    """Two positions of 10 fall to 4.25, selling one costs 5, and the cash is 1."""
    exchange = dataclasses.replace(FREE, min_cost=5.0)
    prices = np.full((6, 4), 10.0)
    prices[2:] = 4.25
    market = market_of(prices)
    strategy = topk(2, 2, risk_degree=20 / 31)
    result = backtest(market, [[4, 3, 2, 1], [1, 2, 3, 4]], strategy, exchange, account=31)
    assert result.days["cash"].tolist() == pytest.approx([1, 0.25, 0.25])
    assert len(held_on(result, 1)) == 1


def test_a_delisted_stock_keeps_its_last_value() -> None:
    prices = np.full((8, 3), 10.0)
    prices[2, 0], prices[3:, 0] = 15, np.nan
    scores = [[3, 2, 1], [3, 2, 1], *[[np.nan, 2, 1]] * 4]
    result = backtest(market_of(prices), scores, topk(1, 1, risk_degree=0.5))
    assert result.days["value"].iloc[-1] == pytest.approx(1250)
    last = result.positions[result.positions["symbol"] == "S000"].iloc[-1]
    assert (last["price"], last["amount"]) == (15, 50)
    note = (
        "1 positions without a price at the end are valued at their last price, "
        "60.0% of the account: S000"
    )
    assert note in result.notes  # 750 of 1250


def test_equal_weights_are_set_anew_every_day() -> None:
    """1000 in two stocks, one of which doubles: 1500 are two times 750."""
    market = market_of([[10, 10, 10], [10, 10, 10], [20, 10, 10], [20, 10, 10]])
    result = backtest(market, [[3, 2, 1], [3, 2, 1]], EqualTopk(2, 1.0))
    assert held_on(result, 0) == {"S000": 50, "S001": 50}
    assert held_on(result, 1) == {"S000": 37.5, "S001": 75}
    assert result.days["turnover"].tolist() == [1.0, 0.5, 0.0]
    part = backtest(market, [[3, 2, 1], [3, 2, 1]], EqualTopk(2, 0.9))
    assert part.days["cash"].tolist() == pytest.approx([100, 145, 145])


def test_a_short_position_earns_when_the_price_falls() -> None:
    market = market_of([[10, 10], [10, 10], [10, 8], [10, 8]])
    result = backtest(market, [[2, 1]], LongShort(0.5))
    assert held_on(result, 0) == {"S000": 50, "S001": -50}
    assert result.days["return"].tolist() == pytest.approx([0, 0.1])  # half of it in each
    assert result.trades["side"].tolist() == ["sell", "buy"]


# timing


@pytest.mark.parametrize("strategy", [EqualTopk(4, 1.0), LongShort(0.2)])
def test_returns_are_those_of_the_label(strategy: Strategy) -> None:
    """What a day of scores earns is the label of its stocks: trades at t+1, to t+2."""
    market = random_market(n_days=30, n_stocks=20)
    returns = forward_return(market.field("close"), buy=1, sell=2)[:28].numpy()
    scores = np.random.default_rng(1).standard_normal(returns.shape)
    earned = backtest(market, scores, strategy).days["return"].to_numpy()
    order = np.argsort(-scores, axis=1)
    ordered = np.take_along_axis(returns, order, axis=1)
    expected = ordered[:, :4].mean(axis=1)
    if strategy.neutral:
        expected = (expected - ordered[:, -4:].mean(axis=1)) / 2
    assert len(earned) == 29
    assert earned[0] == 0
    np.testing.assert_allclose(earned[1:], expected, atol=1e-6)


ALL_STRATEGIES = [topk(8, 8), EqualTopk(8, 1.0), LongShort(0.2)]


@pytest.mark.parametrize("strategy", ALL_STRATEGIES, ids=lambda s: type(s).__name__)
def test_foresight_pays_on_its_own_day_alone(strategy: Strategy) -> None:
    """Scores that are the label make a rising curve; the label of a day before or after does not.

    A day earns 1.4 standard deviations of 2% for the best fifth; by chance the mean of 390 days is
    within 0.1% of 0.
    """
    market = random_market()
    label = forward_return(market.field("close"), buy=1, sell=2).numpy()
    gains = {}
    for shift in (-2, -1, 0, 1, 2):
        scores = scores_of(market, label[2 + shift : 396 + shift], first=2)
        gains[shift] = backtest(market, scores, strategy).days["return"].iloc[1:]
    assert (gains.pop(0) > 0.01).all()
    for shift, gain in gains.items():
        assert abs(gain.mean()) < 0.001, shift


@pytest.mark.parametrize("strategy", ALL_STRATEGIES, ids=lambda s: type(s).__name__)
def test_random_scores_lose_the_costs(strategy: Strategy) -> None:
    market = random_market()
    scores = np.random.default_rng(1).standard_normal((398, 40))
    days = backtest(market, scores, strategy, COSTLY).days
    assert abs(days["return"].mean()) < 0.001
    # purchases and sales are as much, at 0.1% and 0.2%
    assert days["cost"].mean() == pytest.approx(0.0015 * days["turnover"].mean(), rel=0.02)
    assert days["value"].iloc[-1] < 600


@pytest.mark.parametrize("strategy", ALL_STRATEGIES, ids=lambda s: type(s).__name__)
def test_nothing_later_changes_a_day(strategy: Strategy) -> None:
    market = random_market(n_days=60, n_stocks=20)
    scores = np.random.default_rng(1).standard_normal((58, 20))
    later = market.field("close").clone()
    later[30:] *= torch.rand(30, 20) + 0.5
    changed = dataclasses.replace(market, fields={**market.fields, "close": later})
    other = np.concatenate([scores[:28], -scores[28:]])  # of day 28, traded on day 29
    before = backtest(market, scores, strategy, COSTLY).days
    after = backtest(changed, other, strategy, COSTLY).days
    pd.testing.assert_frame_equal(before[:28], after[:28])
    assert not before[28:].equals(after[28:])


# bookkeeping


@pytest.fixture(scope="module")
def busy() -> tuple[Market, Backtest]:
    """An account that is short of cash, in a market with suspensions, limits and whole shares."""
    random = np.random.default_rng(2)
    market = random_market(n_days=120, n_stocks=30)
    close = market.field("close").numpy().copy()
    close[random.random(close.shape) < 0.05] = np.nan
    market = market_of(close, factor=np.full(close.shape, 1.7, dtype=np.float32))
    exchange = Exchange(buy_cost=0.001, sell_cost=0.002, min_cost=5.0, limit=0.05, trade_unit=10)
    scores = random.standard_normal((118, 30))
    return market, backtest(market, scores, topk(10, 4), exchange, account=50_000)


def test_the_value_of_the_account_is_cash_and_positions(busy: tuple[Market, Backtest]) -> None:
    _, result = busy
    days = result.days.set_index("date")
    positions = result.positions.groupby("date")[["value", "weight"]].sum()
    np.testing.assert_allclose(days["cash"] + positions["value"], days["value"])
    np.testing.assert_allclose(positions["weight"], 1 - days["cash"] / days["value"])
    assert (days["cash"] >= 0).all()


def test_returns_and_costs_are_what_moves_the_value(busy: tuple[Market, Backtest]) -> None:
    _, result = busy
    days, trades = result.days.set_index("date"), result.trades
    before = days["value"].shift(fill_value=50_000)
    np.testing.assert_allclose(
        days["value"] / before - 1, days["return"] - days["cost"], atol=1e-12
    )
    paid = trades.groupby("date")[["cost", "value"]].sum().reindex(days.index, fill_value=0)
    np.testing.assert_allclose(paid["cost"], days["cost"] * before, atol=1e-8)
    np.testing.assert_allclose(paid["value"], days["turnover"] * before, atol=1e-8)


def test_trades_make_the_positions(busy: tuple[Market, Backtest]) -> None:
    _, result = busy
    trades = result.trades
    signed = trades["amount"].where(trades["side"] == "buy", -trades["amount"])
    final = signed.groupby(trades["symbol"]).sum()
    held = held_on(result, -1 + len(result.days))
    assert final[final.abs() > 1e-6].to_dict() == pytest.approx(held)
    shares = trades.loc[trades["side"] == "buy", "shares"]
    np.testing.assert_allclose(shares / 10, (shares / 10).round(), atol=1e-4)


def test_no_trade_is_made_at_a_missing_price_or_a_limit(busy: tuple[Market, Backtest]) -> None:
    market, result = busy
    close = pd.DataFrame(market.field("close").numpy(), market.dates, market.symbols)
    move = (close.ffill() / close.ffill().shift() - 1).abs()
    at = [(row.date, row.symbol) for row in result.trades.itertuples()]
    assert all(np.isfinite(close.loc[where]) and move.loc[where] < 0.05 for where in at)


def test_a_day_without_scores_has_no_trades() -> None:
    market = random_market(n_days=10, n_stocks=6)
    scores = np.random.default_rng(0).standard_normal((8, 6))
    scores[3] = np.nan
    result = backtest(market, scores, EqualTopk(2, 1.0))
    assert result.days["turnover"].eq(0).tolist() == [day in (3, 8) for day in range(9)]


def test_scores_of_the_last_day_of_the_data_wait() -> None:
    """Nothing follows them yet; those of the day before are traded and have not earned."""
    market = random_market(n_days=6, n_stocks=4)
    scores = np.random.default_rng(0).standard_normal((6, 4))
    days = backtest(market, scores, EqualTopk(2, 1.0)).days
    assert days["date"].tolist() == market.dates[1:].tolist()
    assert days["turnover"].iloc[-1] > 0
    with pytest.raises(InputError, match="no trading day follows the scores of 2020-01-08"):
        backtest(market, scores_of(market, scores[5:], first=5), EqualTopk(2, 1.0))


def test_one_split_of_the_scores_can_be_taken() -> None:
    market = random_market(n_days=12, n_stocks=4)
    table = scores_of(market, np.random.default_rng(0).standard_normal((10, 4)))
    table["split"] = np.where(table["date"] < market.dates[5], "valid", "test")
    days = backtest(market, table, EqualTopk(2, 1.0), split="test").days
    assert days["date"].iloc[0] == market.dates[6]
    with pytest.raises(InputError, match="unknown backtest.split 'tests'; did you mean 'test'"):
        backtest(market, table, EqualTopk(2, 1.0), split="tests")


def test_the_tables_are_written(tmp_path: Path) -> None:
    market = market_of(PRICES)
    result = backtest(market, [[3, 2, 1], [1, 3, 2]], topk(1, 1), COSTLY)
    result.write(tmp_path)
    tables = {"backtest": result.days, "positions": result.positions, "trades": result.trades}
    assert {file.name for file in tmp_path.iterdir()} == {f"{name}.parquet" for name in tables}
    for name, table in tables.items():
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{name}.parquet"), table)
    assert list(result.days) == [
        "date",
        "return",
        "cost",
        "turnover",
        "cash",
        "value",
        "benchmark",
    ]


# benchmark


def test_the_index_is_the_benchmark_where_there_is_one() -> None:
    level = np.array([100, 101, 103.02, 103.02], dtype=np.float32)
    result = backtest(
        market_of(np.full((4, 2), 10), benchmark=level), [[2, 1]], topk(1, 1), benchmark=None
    )
    assert result.days["benchmark"].tolist() == pytest.approx([0.01, 0.02], rel=1e-4)
    assert result.benchmark == "the index of toy"


def test_beside_an_index_there_is_the_universe() -> None:
    """The stocks rise by 2% and 4%, the index by 1%; S000 is bought for half, at 0.1%."""
    level = np.array([100, 100, 101, 101], dtype=np.float32)
    prices = [[10, 10], [10, 10], [10.2, 10.4], [10.2, 10.4]]
    market = market_of(prices, benchmark=level)
    result = backtest(market, [[2, 1]], EqualTopk(1, 0.5), COSTLY, benchmark=None)
    assert result.days["universe"].tolist() == pytest.approx([0, 0.03], abs=1e-6)
    figures = result.metrics
    earned = -0.0005 + 10 / 999.5
    assert figures["universe_return/mean"] == pytest.approx(0.015, abs=1e-6)
    assert figures["excess_return_with_cost/mean"] == pytest.approx(earned / 2 - 0.005, abs=1e-6)
    over = figures["excess_return_over_universe_with_cost/mean"]
    assert over == pytest.approx(earned / 2 - 0.015, abs=1e-6)
    assert result.metrics.keys() == result.definitions.keys()
    other = backtest(market, [[2, 1]], EqualTopk(1, 0.5), COSTLY, benchmark="universe")
    assert other.metrics["excess_return_with_cost/mean"] == pytest.approx(over)
    assert "universe" not in other.days


def paying_market() -> Market:
    """250 days, 4 stocks: S000 pays 3% once, S001 2% twice and splits, S002 is no member; noise."""
    factor = np.ones((250, 4))
    factor[100:, 0] *= 1.03
    factor[50:, 1] *= 1.02
    factor[150:, 1] *= 1.02
    factor[200:, 1] *= 1.1  # one new share per 10
    factor[220:, 1] *= 0.5
    factor[120:, 2] *= 1.09
    factor[::2, 3] *= 1.01  # rounding, which cancels out
    factor[75:100, 0] = np.nan  # suspended until it pays
    level = np.full(250, 100, dtype=np.float32)
    prices = np.full((250, 4), 10)
    market = market_of(prices, factor=factor.astype(np.float32), benchmark=level)
    market.members[:, 2] = False
    return market


def test_dividends_are_measured_where_the_benchmark_is_an_index() -> None:
    """Of three members on 249 days: 3%, 2% and 2%; the split does not count."""
    scores = np.tile([4, 3, 2, 1], (248, 1))
    result = backtest(paying_market(), scores, topk(1, 1), benchmark=None, periods=240)
    growth = np.log(1.03) + 2 * np.log(1.02) - np.log(1.01)  # up on even days, down at the end
    expected = 240 * growth / (3 * 249)
    assert result.dividend_yield == pytest.approx(expected, rel=1e-4)
    assert result.metrics["dividend_yield"] == result.dividend_yield
    assert result.caveats[0].startswith(
        f"The stocks' returns include dividends of about {expected:.1%} a year. Unless"
    )


def test_dividends_are_not_mentioned_where_there_are_none() -> None:
    flat = np.ones((4, 2), dtype=np.float32)
    split = flat.copy()
    split[2:] = 2
    level = np.full(4, 100, dtype=np.float32)
    for factor, expected in ((None, None), (flat, 0.0), (split, 0.0)):
        market = market_of(np.full((4, 2), 10), benchmark=level, factor=factor)
        result = backtest(market, [[2, 1]], topk(1, 1), benchmark="index")
        assert (result.dividend_yield, result.caveats) == (expected, ())
    over = backtest(
        paying_market(), np.tile([4, 3, 2, 1], (9, 1)), topk(1, 1), benchmark="universe"
    )
    assert (over.dividend_yield, over.caveats) == (None, ())


def test_a_dividend_counts_for_the_members_of_the_day_before() -> None:
    factor = np.ones((5, 2), dtype=np.float32)
    factor[2:, 0] = 1.05
    market = market_of(np.full((5, 2), 10), factor=factor)
    market.members[1, 0] = False  # at the close before the ex-date
    assert mean_dividends(market, range(1, 5)) == 0.0
    market.members[1, 0], market.members[2, 0] = True, False
    assert mean_dividends(market, range(1, 5)) == pytest.approx(np.log(1.05) / 7)


def test_days_that_are_not_those_of_a_year_are_mentioned() -> None:
    weekly = dataclasses.replace(
        random_market(n_days=120, n_stocks=4),
        dates=pd.date_range("2015-01-02", periods=120, freq="W-FRI"),
    )
    scores = np.random.default_rng(0).standard_normal((118, 4))
    assert backtest(weekly, scores, topk(1, 1)).caveats == (
        "The backtest has about 52 days a year, but annualised metrics assume 252 "
        "(backtest.periods).",
    )
    daily = random_market(n_days=120, n_stocks=4)
    assert backtest(daily, scores, topk(1, 1)).caveats == ()


def test_trades_without_a_factor_are_counted() -> None:
    """S000 has none: fractions of it are traded."""
    factor = np.ones((4, 2), dtype=np.float32)
    factor[:, 0] = np.nan
    units = dataclasses.replace(FREE, trade_unit=10)
    result = backtest(market_of(np.full((4, 2), 30), factor=factor), [[2, 1]], topk(2, 1), units)
    assert "1 trades are in fractions of shares, without a factor: S000" in result.notes


def test_a_share_of_stocks_is_not_rounded_down_by_floating_point() -> None:
    """0.29 of 100 stocks are 29 a side, though 0.29 * 100 is a little less."""
    market = market_of(np.full((4, 100), 10.0))
    result = backtest(market, [np.arange(100)], LongShort(0.29))
    assert (result.trades["side"] == "buy").sum() == (result.trades["side"] == "sell").sum() == 29


def test_without_an_index_the_benchmark_is_the_universe() -> None:
    """S001 doubles and is then suspended; S002 is a member from the evening of its rise on."""
    market = market_of([[10, 10, 10], [10, 20, 90], [11, np.nan, 90], [11, 20, 90]])
    market.members[0, 2] = False
    result = backtest(market, [[3, 2, 1], [3, 2, 1]], topk(1, 1), benchmark=None)
    assert result.days["benchmark"].tolist() == pytest.approx([0.5, 0.1 / 3, 0.0])
    assert result.benchmark == "the equally weighted universe of toy"


def test_the_benchmark_of_a_neutral_portfolio_is_cash() -> None:
    result = backtest(random_market(n_days=5), np.eye(3, 40), LongShort(0.2), benchmark=None)
    assert result.days["benchmark"].eq(0).all()
    assert result.benchmark == "cash without interest"


def test_a_missing_or_short_benchmark_is_named() -> None:
    level = np.array([100, np.nan, 0, 100], dtype=np.float32)
    with pytest.raises(InputError, match="no level on 2 of the 3 days .*: 2020-01-02, 2020-01-03"):
        backtest(
            market_of(np.full((4, 2), 10), benchmark=level), [[2, 1]], topk(1, 1), benchmark="index"
        )
    with pytest.raises(InputError, match="'toy' has no benchmark: set data.benchmark"):
        backtest(market_of(np.full((4, 2), 10)), [[2, 1]], topk(1, 1), benchmark="index")
    with pytest.raises(InputError, match="unknown backtest.benchmark 'indx'; did you mean 'index'"):
        backtest(market_of(np.full((4, 2), 10)), [[2, 1]], topk(1, 1), benchmark="indx")


# bad input


def good_scores() -> pd.DataFrame:
    return scores_of(market_of(PRICES), [[3, 2, 1], [1, 3, 2]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"symbol": ["S001", "S01", "S002"] * 2},
            "1 symbols that market 'toy' lacks: S01; did you mean 'S001'",
        ),
        ({"date": ["2019-12-31", "2020-01-04"] * 3}, "2 dates that are not trading days of market"),
        ({"date": ["2020-01-01"] * 5 + ["soon"]}, "column 'date', row 6: 'soon' is not a date"),
        (
            {"symbol": "S001"},
            "4 rows that repeat the date and symbol of another: 2020-01-01 S001, 2020",
        ),
        ({"score": "high"}, "'high' is not a number"),
        ({"score": [1, 1, 1, 2, 1, 3]}, "on 1 days all scores are equal, .*: 2020-01-01"),
        ({"score": 1.0}, "on no day do two stocks have different finite scores"),
    ],
)
def test_scores_that_do_not_fit_are_refused(change: dict[str, object], message: str) -> None:
    table = good_scores().sort_values("symbol", kind="stable").reset_index(drop=True)
    with pytest.raises(InputError, match=message):
        backtest(market_of(PRICES), table.assign(**change), topk(1, 1))


def test_scores_without_columns_rows_or_stocks_are_refused() -> None:
    market, table = market_of(PRICES), good_scores()
    with pytest.raises(
        InputError, match="no column score: columns.score=NAME .*; available: date, symbol, scores"
    ):
        backtest(market, table.rename(columns={"score": "scores"}), topk(1, 1))
    with pytest.raises(InputError, match="has no rows"):
        backtest(market, table[:0], topk(1, 1))
    with pytest.raises(InputError, match="scores of 3 stocks a day, but 1 days .*: 2020-01-02 2"):
        backtest(market, table.drop(index=table.index[-1]), topk(3, 1))
    with pytest.raises(InputError, match="needs scores of 5 stocks a day, but 2 days have fewer"):
        backtest(market, table, LongShort(0.2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: topk(5, 6), "need 0 <= strategy.n_drop <= strategy.topk, at least 1, got 6 and 5"),
        (lambda: topk(0, 0), "got 0 and 0"),
        (lambda: topk(5, 1, risk_degree=1.5), "strategy.risk_degree must be a fraction"),
        (lambda: EqualTopk(0, 1.0), "strategy.topk must be at least 1, got 0"),
        (lambda: LongShort(0.6), "strategy.quantile must be above 0 and at"),
        (lambda: dataclasses.replace(FREE, buy_cost=5), "exchange.buy_cost must be a fraction of"),
        (lambda: dataclasses.replace(FREE, min_cost=-1), "exchange.min_cost must be at least 0, g"),
        (lambda: dataclasses.replace(FREE, limit=0), "exchange.limit must be above 0 and below"),
        (lambda: dataclasses.replace(FREE, limit=True), "exchange.limit must be above 0 and belo"),
        (
            lambda: dataclasses.replace(FREE, limit="us"),
            "unknown exchange.limit 'us'; available: a_s",
        ),
        (lambda: dataclasses.replace(FREE, trade_unit=0), "exchange.trade_unit must be above 0"),
        (
            lambda: backtest(market_of(PRICES), good_scores(), topk(1, 1), account=0),
            "the account of 0 has lost all of its value",
        ),
    ],
)
def test_impossible_settings_are_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_a_lost_account_is_named() -> None:
    """Short 50 at 10, which then cost 40."""
    market = market_of([[10, 10], [10, 10], [10, 40], [10, 40]])
    with pytest.raises(InputError, match="the account of 1000.0 has lost .* on 2020-01-03"):
        backtest(market, [[2, 1]], LongShort(0.5))


# risk figures


def days_of(returns: list[float], cost: float = 0.0, benchmark: float = 0.0) -> pd.DataFrame:
    days = pd.DataFrame({"return": returns})
    return days.assign(cost=cost, benchmark=benchmark, turnover=0.5)


def test_figures_worked_by_hand() -> None:
    figures = risk_metrics(days_of([0.1, -0.2, 0.1, 0.04], cost=0.01, benchmark=0.02), periods=252)
    assert figures["return_without_cost/mean"] == pytest.approx(0.01)
    assert figures["return_without_cost/annualised_sum"] == pytest.approx(2.52)
    assert figures["return_without_cost/annualised_compounded"] == pytest.approx(
        (1.1 * 0.8 * 1.1 * 1.04) ** 63 - 1
    )
    std = ((0.09**2 + 0.21**2 + 0.09**2 + 0.03**2) / 3) ** 0.5
    assert figures["return_without_cost/std"] == pytest.approx(std)
    assert figures["return_without_cost/information_ratio"] == pytest.approx(0.01 / std * 252**0.5)
    assert figures["return_without_cost/max_drawdown_sum"] == pytest.approx(-0.2)
    assert figures["return_without_cost/max_drawdown_compounded"] == pytest.approx(-0.2)
    assert figures["return_with_cost/mean"] == pytest.approx(0.0)
    assert figures["excess_return_without_cost/mean"] == pytest.approx(-0.01)
    assert figures["excess_return_with_cost/annualised_sum"] == pytest.approx(-0.02 * 252)
    assert figures["benchmark_return/annualised_sum"] == pytest.approx(0.02 * 252)
    assert figures["cost/annualised_sum"] == pytest.approx(2.52)
    assert (figures["turnover/mean"], figures["days"]) == (0.5, 4)


def test_a_drawdown_may_begin_with_the_first_day() -> None:
    figures = risk_metrics(days_of([-0.1, 0.05, -0.2]), periods=252)
    assert figures["return_with_cost/max_drawdown_sum"] == pytest.approx(-0.25)
    assert figures["return_with_cost/max_drawdown_compounded"] == pytest.approx(
        0.9 * 1.05 * 0.8 - 1
    )


def test_what_is_undefined_is_nan() -> None:
    figures = risk_metrics(days_of([0.01]), periods=252)
    assert np.isnan(figures["return_with_cost/std"])
    assert np.isnan(figures["return_with_cost/information_ratio"])
    constant = risk_metrics(days_of([0.0, 0.0]), periods=252)
    assert np.isnan(constant["return_with_cost/information_ratio"])


def test_every_figure_has_a_definition() -> None:
    result = backtest(market_of(PRICES), good_scores(), topk(1, 1))
    assert result.metrics.keys() == result.definitions.keys()
    assert "times 238" in definitions(238)["excess_return_with_cost/annualised_sum"]
    assert len(set(result.definitions.values())) == len(result.definitions)


# configs


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("settings", SETTINGS)
def test_every_config_runs(settings: str, strategy: str) -> None:
    config = compose(f"backtest={settings}", f"backtest/strategy={strategy}")
    market = Market.from_table(
        small_frame(n_days=20, n_stocks=60), columns={"adjusted_close": "adjusted_close"}
    )
    scores = scores_of(market, np.random.default_rng(0).standard_normal((18, 60)))
    result = instantiate(config.backtest)(scores.assign(split="test"), market)
    shares = result.trades["shares"][result.trades["side"] == "buy"]
    assert len(shares) > 20
    unit = config.backtest.exchange.trade_unit
    closing = 0.9 if strategy == "long_short" else 1  # of odd lots
    whole = np.isclose(shares / unit, (shares / unit).round(), atol=1e-4)
    assert whole.mean() >= closing


def test_years_of_a_large_index_take_less_than_two_seconds() -> None:
    market = random_market(n_days=872, n_stocks=300)
    scores = scores_of(market, np.random.default_rng(0).standard_normal((870, 300)))
    settings = instantiate(compose("backtest=a_shares").backtest)
    start = time.process_time()
    settings(scores, market)
    assert time.process_time() - start < 2
