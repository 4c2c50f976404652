"""Definitions of the columns and metrics of an explanation, one sentence each."""

STOCKS = {
    "weight": "Weight with which a stock looks at what the other columns name; over everything "
    "that a stock looks at, the weights of attention sum to 1.",
    "attended": "Effective number of stocks that a stock attends to, exp(-sum of w log w) over its "
    "weights w: n for equal shares of n stocks; by day and in explain.json the mean over stocks.",
    "received": "Mean weight of a stock over all stocks that attend, times N; 1 is chance.",
    "difference_of_rows": "Mean over stocks of half the summed absolute differences of their "
    "weights from the mean weights, from 0 (all attend to the same stocks) to 1.",
    "cluster": "Cluster of stocks that attend to the same stocks: average linkage on 1 - the "
    "correlation of their weights, cut into as many clusters as there are sectors, else 10.",
}
SECTORS = {
    "adjusted_rand_index": "Agreement of clusters and sectors after Hubert and Arabie (1985): 1 if "
    "they are equal, 0 on average by chance.",
    "sector": "The concept in which a stock has the largest weight.",
    "share": "Mean over the stocks of the sector of their summed weights of the stocks of the "
    "other sector; over the other sectors, shares sum to 1.",
    "lift": "Share divided by the other sector's part of the day's stocks; 1 is chance.",
    "within_lift": "Lift of the stocks' own sectors, mean over stocks; the own stock is included.",
    "from_others": "Share of a sector's attention that it gives to other sectors.",
    "to_others": "Sum over the other sectors of their shares for the sector.",
    "net": "to_others - from_others: above 0, a sector receives more attention than it gives.",
    "to_lift": "to_others divided by its value if all stocks attended to all stocks equally.",
    "total": "Mean over sectors of from_others. from, to, net and total are named as in Diebold "
    "and Yilmaz (2012), but are shares of attention, not of the variance of forecast errors.",
    "leader": "Whether the rolling mean of to_lift over 20 days is the highest of all sectors.",
    "mean_correlation": "Mean pairwise correlation of the daily returns of the day's stocks over "
    "the last 20 days, of stocks without a missing return.",
    "return": "Mean return of the day's stocks from the close before to that of the day.",
}
TIME = {
    "step": "Day of the window, counted from the scored day: 0 is the day itself, -1 the trading "
    "day before.",
    "layer": "Layer of the network, from 0.",
    "head": "Attention head, from 0.",
}
FREQUENCIES = {
    "frequency": "Number k of the frequency, 2 pi k / K per day: a period of K / k trading days.",
}
PREDICTORS = {
    "predictor": "Number of a predictor of the model, from 0; the order means nothing.",
    "weight (routes)": "Probability that the router gives the predictor for the stock.",
    "share (routed)": "Share of the stocks of the day that are scored by the predictor.",
    "largest_share": "Largest share of a predictor, mean over days; 1 if all stocks of a day "
    "always have the same predictor.",
}
MARKET = {
    "class": "Tercile of the market's return, by the training days: 0 low, 1 medium, 2 high. The "
    "return is the mean forward return of the stocks of a day.",
    "weight (market)": "Probability that the model gives the class, from the window of one stock.",
    "probability": "The same, mean over the stocks of a day.",
    "actual": "Class that the day had; empty where the forward returns are unknown.",
    "hits": "Share of the days with a known class on which it was the most probable one, by mean "
    "probability; 1/3 is chance.",
}
CONCEPTS = {
    "concept": "Predefined concept of the data, such as a sector.",
    "other": "Another stock: one that is attended to, a member of a concept, or the stock around "
    "which a hidden concept is built.",
}
NEIGHBOURS = {
    "neighbour": "Rank of the neighbour, from 0, the most similar.",
    "other_date": "Training day that the neighbour is from.",
}
GATE = {
    "weight (gate)": "Share of a feature in the weights that the state of the market gives; over "
    "the features they sum to 1. The model multiplies the features by their weight, times their "
    "number.",
}
TERMS = {
    "term": "One of the numbers whose sum is the score, up to a constant that is the same for all "
    "stocks.",
    "value (terms)": "The term of a stock, in units of the score.",
    "share (terms)": "Covariance of a term with the score over the variance of the score, over the "
    "stocks of the last day; over the terms, shares sum to 1.",
}
FACTORS = {
    "factor": "Number of a factor, from 0; order and sign are arbitrary.",
    "factor_means": "Mean of the forecast of a factor.",
    "factor_deviations": "Standard deviation of the forecast of a factor.",
    "exposures": "Change of a stock's score per unit of a factor.",
    "deviations": "Standard deviation of the forecast of a stock's label: that of its own term, "
    "and those of the factors times its exposures.",
    "factor_attention": "Weight of a stock in the state that a factor is forecast from.",
}
ATTRIBUTION = {
    "value": "Part of a score that comes from an input, in units of the score. Integrated "
    "gradients add up to the score minus that of the day's mean features, SHAP values to the score "
    "minus its expectation; by permutation, it is the score minus its mean after the input was "
    "permuted.",
    "lag": "Trading days between the input and the scored day; 0 is the day itself.",
    "lags": "Number of neighbouring days of the window that were permuted together, from lag on.",
    "other (attribution)": "The stock that the input belongs to; empty if the input of all stocks "
    "was changed together. Only the 50 stocks with the largest attributions are listed one by one.",
    "share_of_others": "Sum of absolute attributions to other stocks' inputs over that to all.",
    "delta": "Convergence delta: mean absolute difference of the sum of the attributions and the "
    "change of the score, over the mean absolute change; above 5%, attributions are refused.",
}
CHECKS = {
    "uniform": "IC with all attention replaced by equal shares, minus the IC of the model.",
    "seeds": "Mean over stocks of the rank correlation of the weights of two runs that differ by "
    "their seed.",
    "randomised": "Rank correlation of attributions before and after all weights are drawn anew, "
    "mean of several draws; explanations of the model have none.",
    "planted": "Lift within sectors and weight of leaders over that of others, of the same network "
    "trained on a synthetic market in which leaders of a sector precede the others.",
    "deletion": "Mean absolute change of the score when the tenth of the inputs with the largest "
    "attributions is replaced by the day's mean, over that for a random tenth.",
}
