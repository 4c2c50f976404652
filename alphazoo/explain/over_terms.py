"""What a score is the sum of, and the factors of a factor model."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from alphazoo.evaluation.drawing import FIRST, INK, draw
from alphazoo.evaluation.report import Table
from alphazoo.explain import definitions
from alphazoo.explain.bars import MOST, plot_bars
from alphazoo.explain.explanation import Part, Seen
from alphazoo.explain.heat import heat, shrink
from alphazoo.explain.over_time import ROWS

LISTED = 6  # terms of a table


def show_terms(tables: Mapping[str, pd.DataFrame], seen: Seen) -> Part:
    """Show the terms that the scores of a day are the sums of.

    Args:
        tables: A table ``terms`` with the columns ``symbol, term, value``.
        seen: The day.
    """
    part = Part(
        "Terms of the score", dict(tables), definitions=dict(definitions.TERMS), checked_as=""
    )
    wide = tables["terms"].pivot(index="symbol", columns="term", values="value")
    shares = shares_of_variance(wide)
    part.metrics |= {f"share/{name}": float(share) for name, share in shares.items()}
    part.add(
        "terms",
        draw(
            plot_bars,
            shares,
            "Terms of the score",
            ("covariance with the score, over the variance of the score", "term"),
        ),
        f"How much of the differences between the scores of {seen.date} each term makes; the "
        "shares sum to 1, and a term against the others has a share below 0. Up to a constant, "
        "the score is the sum of its terms, but a term is no cause: all read the same inputs.",
    )
    names = [*shares.abs().nlargest(LISTED).index]
    centred = wide - wide.mean()
    rows = [[symbol, *(f"{centred.loc[symbol, n]:+.3g}" for n in names)] for symbol in seen.chosen]
    part.page.append(Table(rows, ["term minus its mean over stocks", *map(str, names)]))
    return part


def shares_of_variance(wide: pd.DataFrame) -> "pd.Series[float]":
    """Return the covariance of each term with the score over the variance of the score.

    Args:
        wide: [N, terms], the terms of the scores; scores are their sum, up to a constant.
    """
    centred = wide - wide.mean()
    score = centred.sum(axis=1)
    return centred.mul(score, axis=0).sum() / (score**2).sum()


def show_factors(tables: Mapping[str, pd.DataFrame], seen: Seen) -> Part:
    """Show the forecast of the factors of a day, and the exposures and the risk of its stocks.

    Args:
        tables: Tables of a factor model, by the names of its probes.
        seen: The day.
    """
    part = Part("Factors", dict(tables), definitions=dict(definitions.FACTORS))
    part.notes.append(
        "Factors have no names, and their order and sign depend on the seed: compare what they do, "
        "not their numbers."
    )
    means, deviations = (
        tables[name].set_index("factor")["value"] for name in ("factor_means", "factor_deviations")
    )
    part.add(
        "factor_means",
        draw(_forecast, means, deviations),
        f"Forecast of each factor on {seen.date}: the mean, from which the scores are computed, "
        "and the standard deviation around it, which enters the risk of the stocks only.",
    )
    exposures = tables["exposures"].pivot(index="symbol", columns="factor", values="value")
    part.add(
        "exposures",
        draw(_exposures, exposures.loc[seen.scores.sort_values(ascending=False).index]),
        f"Exposure of each stock to each factor on {seen.date}, highest score on top. A large "
        "exposure to a factor whose forecast is near 0 does not move the score.",
    )
    part.add(
        "deviations",
        draw(_risk, seen.scores, tables["deviations"].set_index("symbol")["value"]),
        f"Score and forecast standard deviation of each stock on {seen.date}, both of the label. "
        "Whether the deviations are those of the returns is not checked here.",
    )
    read = tables["factor_attention"].groupby("other", observed=True)["weight"].mean()
    part.add(
        "factor_attention",
        draw(
            plot_bars,
            read * len(read),
            "Stocks that factors are computed from",
            ("mean weight, over equal shares", "stock"),
            1.0,
        ),
        f"Stocks from whose states the factors of {seen.date} are computed, the mean over factors: "
        f"the {MOST} largest; 1 is equal shares. Where all are near 1, the factors are means of "
        "all stocks.",
    )
    return part


def _forecast(axes: Axes, means: "pd.Series[float]", deviations: "pd.Series[float]") -> None:
    axes.set_title("Forecast of the factors")
    axes.bar(means.index, means, color=FIRST, alpha=0.75, label="mean")
    axes.vlines(
        means.index,
        means - deviations,
        means + deviations,
        color=INK,
        linewidth=0.8,
        label="one standard deviation to either side",
    )
    axes.set(xlabel="factor", ylabel="value, without unit")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _exposures(axes: Axes, exposures: pd.DataFrame) -> None:
    axes.set_title("Exposures to the factors")
    heat(axes, shrink(exposures.to_numpy(), ROWS), unit="label per unit of the factor", signed=True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="factor", ylabel="stocks, highest score on top")
    axes.set_yticks([])


def _risk(axes: Axes, scores: "pd.Series[float]", deviations: "pd.Series[float]") -> None:
    axes.set_title("Score and risk")
    axes.plot(deviations, scores.loc[[*deviations.index]], "o", ms=3, alpha=0.6, color=FIRST)
    axes.set(xlabel="standard deviation, in units of the label", ylabel="score, same units")
    axes.set_xlim(left=min(float(np.min(deviations)), 0.0))
