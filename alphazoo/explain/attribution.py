"""Attributions: which inputs a score comes from, by stock, feature and day of the window.

One of three methods, by the model: integrated gradients (Sundararajan et al., "Axiomatic
attribution for deep networks", ICML 2017, https://arxiv.org/abs/1703.01365) by Captum, permutation
within the day, or the SHAP values of LightGBM.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from alphazoo.data.days import DayBatch
from alphazoo.errors import InputError
from alphazoo.explain.permutation import permute
from alphazoo.features.threads import map_threads
from alphazoo.models.base import StockModel
from alphazoo.models.lightgbm import LightGBM

GRADIENTS, PERMUTATION, TREES = "integrated gradients", "permutation within the day", "SHAP values"
LARGEST_DELTA = 0.05  # of the change of the scores; above it, integrated gradients are refused
FEWEST, SOME, MOST = 4, 5, 16  # pieces of the path; that with the largest error is halved
POINTS = 4  # of a piece
EXACT, GOOD = 1e-3, 0.01  # of the change of the scores


class _Piece(NamedTuple):
    """A piece of the path from the baseline, 0, to the features, 1."""

    first: float
    last: float
    found: Tensor  # integrated gradients, see `_integrate`
    change: Tensor  # of the scores
    miss: Tensor  # sum of the attributions minus the change


class Attributions(NamedTuple):
    """Attributions of the scores of K stocks.

    Attributes:
        method: How they were computed.
        stocks: [K], places of the stocks in the day.
        inputs: [K, T, F], summed over the stocks that the inputs belong to. By permutation, days
            of the window may share a value, see ``lags``.
        others: [K, N], attribution of all inputs of one stock, which may be the stock itself.
        full: [K, N, T, F], by the stock that the inputs belong to; None if all belong to the stock
            itself, and by permutation.
        delta: Convergence delta: the mean absolute difference between the sum of the attributions
            and the change of the score, over the mean absolute change. NaN by permutation, which
            does not add up.
        lags: Number of neighbouring days of the window that were permuted together.
        looks_at_others: Whether a score depends on other stocks of the day.
    """

    method: str
    stocks: Tensor
    inputs: Tensor
    others: Tensor
    full: Tensor | None
    delta: float
    lags: int
    looks_at_others: bool


def attribute(
    model: StockModel,
    day: DayBatch,
    stocks: Tensor,
    *,
    method: str | None = None,
    replace_others: bool = True,
    rough: bool = False,
    baseline: Tensor | None = None,
    seed: int = 0,
) -> Attributions:
    """Attribute the scores of some stocks of a day to the inputs of all stocks.

    Args:
        model: The model, in evaluation mode.
        day: The day.
        stocks: [K], places of the stocks in the day.
        method: ``"integrated gradients"`` or ``"permutation within the day"``; by default the one
            that suits the model.
        replace_others: Whether permutation replaces other stocks one by one; if not, ``others`` is
            NaN.
        rough: Whether few points of the path do, and a sum that misses the score is not refused.
        baseline: [T, F], features from which integrated gradients start, the same for all stocks;
            by default their mean over the stocks of the day.
        seed: Seed of the permutations.

    Raises:
        InputError: Captum is not installed, or integrated gradients do not add up to the change of
            the score within 5%.
    """
    if isinstance(model, LightGBM):
        return _of_trees(model, day, stocks)
    cross = looks_at_others(model, day)
    if baseline is None:
        baseline = day.features.mean(dim=0)
    method = method or (GRADIENTS if model.differentiable else PERMUTATION)
    if method == PERMUTATION:
        values, others, lags = permute(model, day, stocks, cross and replace_others, seed)
        return Attributions(method, stocks, values, others, None, torch.nan, lags, cross)
    subset = day if cross else take(day, stocks)  # others would cost time and change nothing
    places = stocks if cross else None
    found, delta = _integrate(model, subset, baseline.expand_as(subset.features), places, rough)
    if not (rough or delta <= LARGEST_DELTA):
        raise InputError(
            f"integrated gradients of {type(model).__name__} miss the change of the score by "
            f"{delta:.0%}, more than {LARGEST_DELTA:.0%}: the scores have no useful gradient; "
            "differentiable = False in the class of the model chooses permutation"
        )
    if cross:
        return Attributions(
            method, stocks, found.sum(dim=1), found.sum(dim=(2, 3)), found, delta, 1, cross
        )
    others = _on_itself(found.sum(dim=(1, 2)), stocks, len(day.stocks))
    return Attributions(method, stocks, found, others, None, delta, 1, cross)


def take(day: DayBatch, stocks: Tensor) -> DayBatch:
    """Return a day with only some of its stocks, given by their places."""
    return day._replace(
        features=day.features[stocks],
        labels=day.labels[stocks],
        returns=day.returns[stocks],
        stocks=day.stocks[stocks],
        concepts=day.concepts[stocks],
    )


def _on_itself(values: Tensor, stocks: Tensor, n: int) -> Tensor:
    """Return the attribution [K] of each stock to itself as a matrix [K, N]."""
    others = values.new_zeros(len(stocks), n)
    others[torch.arange(len(stocks)), stocks] = values
    return others


def looks_at_others(model: StockModel, day: DayBatch) -> bool:
    """Whether scores change when the features of other stocks do."""
    if len(day.stocks) < 2:
        return False
    changed = day.features.clone()
    changed[1:] = 1 - changed[1:].flip(0)  # neither a shift nor a permutation of the others

    @torch.no_grad()
    def score(features: Tensor) -> Tensor:
        scores: Tensor = model(day._replace(features=features))
        return scores[0]

    alone, beside = map_threads(score, [day.features, changed])
    return not torch.allclose(alone, beside, rtol=1e-4, atol=1e-6)


def _integrate(
    model: StockModel, day: DayBatch, start: Tensor, places: Tensor | None, rough: bool
) -> tuple[Tensor, float]:
    """Return integrated gradients and their convergence delta.

    Args:
        model: The model.
        day: The day.
        start: [N, T, F], the baseline.
        places: [K], the stocks whose scores are attributed to the inputs of all stocks; None for
            every stock to its own inputs, if scores depend on nothing else.
        rough: Whether few points of the path do.

    Returns:
        [K, N, T, F], or [N, T, F], and the delta.
    """

    def cut(ends: tuple[float, float]) -> _Piece:
        first, last = ends
        low, high = (torch.lerp(start, day.features, end) for end in (first, last))
        with torch.no_grad():
            change = model(day._replace(features=high)) - model(day._replace(features=low))
        change = change if places is None else change[places]
        found = _integrate_between(model, day, low, high, places)
        return _Piece(first, last, found, change, found.flatten(1).sum(dim=1) - change)

    pieces = map_threads(cut, [(k / FEWEST, (k + 1) / FEWEST) for k in range(FEWEST)])
    change = torch.stack([piece.change for piece in pieces]).sum(dim=0).abs().mean()
    while True:
        miss = torch.stack([piece.miss for piece in pieces]).sum(dim=0).abs().mean()
        delta = float(miss / change.clamp_min(torch.finfo(change.dtype).tiny))
        most = SOME if delta <= GOOD else MOST
        if delta <= EXACT or len(pieces) >= most or rough:
            return torch.stack([piece.found for piece in pieces]).sum(dim=0), delta
        # where the gradient jumps, the sum misses the score: only there, more points are needed
        pieces.sort(key=lambda piece: float(piece.miss.abs().mean()))
        worst = pieces.pop()
        middle = (worst.first + worst.last) / 2
        pieces += map_threads(cut, [(worst.first, middle), (middle, worst.last)])


def _integrate_between(
    model: StockModel, day: DayBatch, low: Tensor, high: Tensor, places: Tensor | None
) -> Tensor:
    """Return integrated gradients between two points of the path by Captum, as `_integrate`.

    Captum stacks the points, and the days of the K scores, along the first dimension. Days are
    therefore scored one by one, and those of the K scores, which are equal, once.
    """
    k = 1 if places is None else len(places)

    def score(features: Tensor) -> Tensor:
        scores: Tensor = model(day._replace(features=features[0]))
        return scores.sum().unsqueeze(0) if places is None else scores[places]

    def gradients(*, inputs: tuple[Tensor], **_: Any) -> tuple[Tensor]:
        features = inputs[0][:1].detach().requires_grad_()
        with torch.enable_grad():
            scores = score(features)
        each = [torch.autograd.grad(x, features, retain_graph=True)[0] for x in scores.unbind()]
        return (torch.cat(each),)

    method = _captum().IntegratedGradients(score)
    method.gradient_func = gradients
    found: Tensor = method.attribute(
        high.expand(k, *high.shape),
        baselines=low.expand(k, *low.shape),
        n_steps=POINTS,
        internal_batch_size=k,
    ).detach()
    return found[0] if places is None else found


def _captum() -> Any:
    try:
        import captum.attr
    except ImportError as error:
        raise InputError(
            "attributions by integrated gradients need Captum: pip install 'alphazoo[explain]'"
        ) from error
    return captum.attr


def _of_trees(model: LightGBM, day: DayBatch, stocks: Tensor) -> Attributions:
    values, expected = model.contributions(day.features[stocks])
    own = values.sum(dim=(1, 2))
    change = model(day)[stocks] - expected
    delta = (own - change).abs().mean() / change.abs().mean().clamp_min(1e-30)
    others = _on_itself(own, stocks, len(day.stocks))
    return Attributions(TREES, stocks, values, others, None, float(delta), 1, False)
