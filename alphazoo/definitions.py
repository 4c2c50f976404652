"""What the figures of an analysis mean: a sentence each, for reports and files."""

# Figures, tables and their columns. Returns are raw forward returns, fractions per holding period;
# columns of daily are of the day, elsewhere means over days that count the same.
SIGNALS: dict[str, str] = {
    "days": "Scored days; by year and month those on which IC is defined, by concept those on "
    "which enough members have score and return.",
    "undefined_days": "Scored days without IC, left out of its mean: fewer than two stocks with "
    "score and return, or all scores or all returns equal.",
    "unscored_days": "Trading days between the first and the last scored day without any score.",
    "stocks": "Stocks of a day with score and return.",
    "ic": "Pearson correlation of scores and raw forward returns among the stocks of a day.",
    "rank_ic": "Spearman correlation of scores and raw forward returns among the stocks of a day; "
    "ties share their mean rank.",
    "icir": "Mean of the daily IC by its standard deviation (ddof 1), not annualised.",
    "rank_icir": "Mean of the daily rank IC by its standard deviation (ddof 1), not annualised.",
    "ic_t": "Mean of the daily IC by its standard error after Newey and West (1987).",
    "rank_ic_t": "Mean of the daily rank IC by its standard error after Newey and West (1987).",
    "long_short_t": "Mean of the daily long-short return by its standard error after Newey and "
    "West (1987).",
    "newey_west_lags": "Lags of these errors, in scored days: floor of 4 (days / 100)^(2/9), and "
    "at least the days by which returns overlap; Bartlett weights, no small-sample correction.",
    "ic_positive": "Share of days whose IC is above 0, of those on which it is defined.",
    "rank_ic_positive": "Share of days whose rank IC is above 0, of those on which it is defined.",
    "spread": "Mean return of the highest quantile less that of the lowest, a fraction per holding "
    "period, without costs.",
    "long_short": "(Mean return of the best 20% - that of the worst 20%) / 2, int(0.2 n) of a "
    "day's n stocks at either end as in Qlib; a fraction per holding period, without costs.",
    "autocorrelation": "Correlation of the ranks of a day's scores with the ranks of the same "
    "stocks one scored day, or the lag, before, as in alphalens.",
    "turnover": "Share of the stocks in the highest quantile of all scores that were not in it one "
    "scored day before, as in alphalens.",
    "coverage": "Share of the universe's members with a price that have a score.",
    "daily": "Figures of each scored day.",
    "mean_return": "Mean return of the stocks of a day with score and return, a fraction per "
    "holding period.",
    "quantiles": "Returns by quantile of the score, q1 the lowest, cut by pandas.qcut's rule among "
    "the stocks of a day with score and return, as in alphalens.",
    "return": "Mean return of a quantile, a fraction per holding period.",
    "excess": "Mean return of a quantile less that of all stocks of the day.",
    "years": "Means over the scored days of each year.",
    "months": "Means over the scored days of each month.",
    "autocorrelations": "Autocorrelation by lag, in scored days.",
    "decay": "IC by horizon h: with the return of one day h ahead, and with that of h days.",
    "horizon": "h, in trading days: ic and rank_ic are with the return from the close of t+h to "
    "that of t+h+1, held_ic and held_rank_ic with that from t+1 to t+1+h.",
    "held_ic": "IC with the return of h days, from the close of t+1 to that of t+1+h.",
    "held_rank_ic": "Rank IC with the return of h days, from the close of t+1 to that of t+1+h.",
    "concepts": "IC among the members of each concept.",
}
