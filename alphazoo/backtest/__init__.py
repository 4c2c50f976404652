"""Backtest: score table + `Market` -> account by day, positions, trades, risk figures.

`run.run_backtest` is the whole of it: scores are checked (`scores`), a strategy (`strategies`)
trades an account at the prices of an exchange (`account`), day by day, beside a benchmark
(`benchmark`); `risk` makes figures of the days.
"""
