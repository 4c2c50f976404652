"""Optimal transport of stocks to the predictors of TRA.

Cuturi, "Sinkhorn distances: lightspeed computation of optimal transport", NeurIPS 2013.
https://arxiv.org/abs/1306.0895
"""

import torch
from torch import Tensor

STEPS = 3
TEMPERATURE = 0.1


def squared_errors(predictions: Tensor, labels: Tensor) -> Tensor:
    """Return the squared errors of predictions [N, K], 0 where the label is unknown."""
    known = labels.isfinite()
    return (predictions - labels.where(known, 0.0).unsqueeze(1)).square() * known.unsqueeze(1)


def scale(x: Tensor) -> Tensor:
    """Scale each row of x [N, K] to [0, 1]; rows of equal values become 1."""
    low, high = x.amin(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)
    return torch.where(low == high, 1.0, (x - low) / (high - low + 1e-12))


def transport(errors: Tensor, past: Tensor, known: Tensor, alpha: float) -> Tensor:
    """Assign stocks to predictors at little cost, so that each predictor gets an equal share.

    Args:
        errors: [N, K], squared errors of the day.
        past: [N, K], mean of past losses.
        known: [N] bool, stocks that are assigned.
        alpha: Weight of the errors in the cost.

    Returns:
        [N, K], shares of the predictors in each stock, which sum to 1; 0 for other stocks.
    """
    cost = scale(alpha * scale(errors) + (1 - alpha) * scale(past))
    shares = (-cost / TEMPERATURE).exp() * known.unsqueeze(1)
    for _ in range(STEPS):
        shares = shares / shares.sum(dim=0, keepdim=True).clamp(min=1e-30)
        shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=1e-30)
    return shares


def largest(x: Tensor) -> Tensor:
    """Return 1 for the largest value of each row of x [N, K], the first one of several, else 0."""
    columns = torch.arange(x.shape[1], device=x.device)
    return (x.argmax(dim=1, keepdim=True) == columns).to(x.dtype)
