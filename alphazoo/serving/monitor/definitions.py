"""Definitions of the monitors, one sentence each, for the report and the documentation."""

MONITORS: dict[str, str] = {
    "age": "Trading days since the newest scored day; on the last day, those until today.",
    "frozen_closes": "Share of stocks whose close has repeated for more than repeat_days days.",
    "price_breaks": "Largest change of a close from one trading day to the next, as a factor: an "
    "unadjusted split, or a price of another stock.",
    "coverage": "Scored members divided by members; the limit is a share of the median of the last "
    "coverage_days days.",
    "missing_values": "Share of missing values of a column before they are filled. The limit is "
    "missing_factor times the share on training days, and at least missing_floor.",
    "frozen_features": "Share of stocks whose value of a column is exactly that of the day before. "
    "The limit is halfway between 1 and the largest share on a training or validation day.",
    "feature_drift": "PSI, the sum of (p - q) ln(p / q) over bins at the deciles of the training "
    "days, pooled over psi_days days. The limit is the largest of psi, the quantile of the null "
    "distribution for so many independent rows, and margin times the largest PSI of as many "
    "consecutive training or validation days, because the stocks of a day move together.",
    "score_drift": "PSI of the scores of a day, standardised within the day, against validation "
    "days; the limit is psi_act, or margin times the largest PSI of a validation day.",
    "score_scale": "Standard deviation of the raw scores of a day, divided by its median on "
    "validation days.",
    "rank_stability": "Spearman correlation of the scores of a day with those of the day before; "
    "limits are those of validation days.",
    "rank_stability_mean": "Mean of the rank stability over stability_days days; limits are those "
    "of validation days.",
    "turnover": "Share of the 50 best stocks (at most a fifth of all) that were not among the best "
    "the day before; limits are those of validation days.",
    "identity": "How many of three things of a day's scores changed without a new version: the "
    "checkpoint, which must be that of the run; the settings, those of the version's first day; "
    "the data up to the day, which must be as they were when the day was scored.",
    "ic": "CUSUM of the daily IC: s = max(0, s - (IC - IC_0) / sd - k) with k = ICIR / 2. IC_0 is "
    "ic_shrinkage times the validation IC. The limit gives one false alarm in ic_years years on "
    "average.",
    "portfolio": "Excess return after costs, summed over portfolio_days days, against mean and "
    "band of the backtest in the report of the run; an alarm after portfolio_outside days outside.",
    "past": "Number of old days whose features, computed again, differ from before.",
}
