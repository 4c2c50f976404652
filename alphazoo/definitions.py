"""Definitions of the metrics of an analysis, one sentence each, for reports and files."""

# Metrics, tables and their columns. Returns are raw forward returns, fractions per holding period.
# Columns of daily refer to one day; all other values are means over days with equal weight.
SIGNALS: dict[str, str] = {
    "days": "Number of scored days; by year and month, only days on which IC is defined; by "
    "concept, only days on which enough members have a score and a return.",
    "undefined_days": "Number of scored days without IC, which its mean leaves out: fewer than two "
    "stocks have a score and a return, or all scores or all returns are equal.",
    "unscored_days": "Number of trading days without any score between the first and the last "
    "scored day.",
    "stocks": "Number of stocks of a day with a score and a return.",
    "ic": "Pearson correlation of scores and raw forward returns across the stocks of a day.",
    "rank_ic": "Spearman correlation of scores and raw forward returns across the stocks of a day; "
    "ties share their mean rank.",
    "icir": "Mean of the daily IC divided by its standard deviation (ddof 1), not annualised.",
    "rank_icir": "Mean of the daily rank IC divided by its standard deviation (ddof 1), not "
    "annualised.",
    "ic_t": "Mean of the daily IC divided by its standard error after Newey and West (1987).",
    "rank_ic_t": "Mean of the daily rank IC divided by its standard error after Newey and West "
    "(1987).",
    "long_short_t": "Mean of the daily long-short return divided by its standard error after Newey "
    "and West (1987).",
    "newey_west_lags": "Number of lags of these standard errors, in scored days: floor of "
    "4 (days / 100)^(2/9), and at least the number of days by which returns overlap; Bartlett "
    "weights, no small-sample correction.",
    "ic_positive": "Fraction of days with an IC above 0, among the days on which it is defined.",
    "rank_ic_positive": "Fraction of days with a rank IC above 0, among the days on which it is "
    "defined.",
    "spread": "Mean return of the highest quantile minus mean return of the lowest, a fraction per "
    "holding period, without costs.",
    "long_short": "(Mean return of the best 20% - mean return of the worst 20%) / 2, with "
    "int(0.2 n) of a day's n stocks at either end as in Qlib; a fraction per holding period, "
    "without costs.",
    "autocorrelation": "Correlation of the ranks of a day's scores with the ranks of the same "
    "stocks one scored day (or the given lag) earlier, as in alphalens.",
    "turnover": "Fraction of the stocks in the highest quantile of all scores that were not in it "
    "one scored day earlier, as in alphalens.",
    "coverage": "Fraction of the universe's members with a price that have a score.",
    "daily": "Metrics of each scored day.",
    "mean_return": "Mean return of the stocks of a day with a score and a return, a fraction per "
    "holding period.",
    "quantiles": "Returns by quantile of the score, where q1 is the lowest; the quantiles are cut "
    "as by pandas.qcut among the stocks of a day with a score and a return, as in alphalens.",
    "return": "Mean return of a quantile, a fraction per holding period.",
    "excess": "Mean return of a quantile minus mean return of all stocks of the day.",
    "years": "Means over the scored days of each year.",
    "months": "Means over the scored days of each month.",
    "autocorrelations": "Autocorrelation by lag, in scored days.",
    "decay": "IC by horizon h: with the one-day return h days ahead, and with the h-day return.",
    "horizon": "h, in trading days: ic and rank_ic use the return from the close of t+h to the "
    "close of t+h+1; held_ic and held_rank_ic use the return from the close of t+1 to the close of "
    "t+1+h.",
    "held_ic": "IC with the return of h days, from the close of t+1 to the close of t+1+h.",
    "held_rank_ic": "Rank IC with the return of h days, from the close of t+1 to the close of "
    "t+1+h.",
    "concepts": "IC among the members of each concept.",
}
