"""Backtest: score table + `Market` -> account by day, positions, trades, risk figures.

`run.run_backtest` does all of it: scores are checked (`scores`), a strategy (`strategies`) trades
an account (`account`) under the rules of an exchange (`exchange`, `limits`), day by day, beside a
benchmark (`benchmark`, `dividends`); `result` makes tables of it and `risk` figures.
"""
