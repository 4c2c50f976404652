"""Backtests a score table on a `Market`: daily account, positions, trades and risk metrics.

The entry point is `run.run_backtest`. It checks the scores (`scores`); day by day, a strategy
(`strategies`) then trades an account (`account`) under the rules of an exchange (`exchange`,
`limits`). The result (`result`) is compared with a benchmark (`benchmark`, `dividends`) and
summarised by risk metrics (`risk`).
"""
