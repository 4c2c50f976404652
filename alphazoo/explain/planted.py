"""Whether a network that can find a planted effect shows it: a check of its explanations."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from omegaconf import DictConfig, open_dict
from torch import Tensor

from alphazoo.config import compose
from alphazoo.data.days import DayBatch
from alphazoo.explain.attribution import GRADIENTS, attribute
from alphazoo.explain.sectors import sector_matrix, sectors_of, within_lift
from alphazoo.explain.stocks import stock_matrix
from alphazoo.explain.subject import Subject
from alphazoo.models.checkpoint import read_checkpoint
from alphazoo.training.fit import fit

MARKET = (
    *("data.n_stocks=100", "data.n_sectors=5", "data.n_days=600", "data.lead_lag=1.0"),
    *("data.reversal=0.0", "data.indices=[MARKET]", "data.train=['2015-01-01', '2016-06-30']"),
    *("data.valid=['2016-07-01', '2016-09-30']", "data.test=['2016-10-01', null]"),
    *("features.window=10", "trainer.max_epochs=8", "trainer.accelerator=cpu"),
    *("trainer.enable_progress_bar=false", "report=false"),
)
EASY = {"lr": 2e-3, "dropout": 0.0}  # settings of a model with which it learns the effect quickly
DAYS = 10  # test days whose attention is looked at
ATTRIBUTED = 3  # of them, those whose scores are attributed
STOCKS = 4  # stocks of each whose scores are attributed


def find_planted(model: DictConfig, *overrides: str, seed: int = 0) -> dict[str, float]:
    """Train a network on a synthetic market with lead-lag in sectors, and measure what it shows.

    Args:
        model: The node ``model`` of a config; its learning rate and dropout are replaced.
        overrides: Changes to the synthetic market and the training run.
        seed: Seed of the weights and the order of days.

    Returns:
        ``attention_lift`` and ``attention_leaders`` for a network that shows which stocks it
        attends to, ``attribution_lift`` and ``attribution_leaders`` for one whose scores depend on
        other stocks. The lift is that of a stock's own sector without the stock itself; leaders is
        the mean weight of the sector's leaders over that of its other stocks, and for integrated
        gradients that of the attribution per unit of input, because leaders have half the
        volatility. Empty for a network that scores each stock by itself.
    """
    config = compose(*MARKET, *overrides, f"seed={seed}")
    with open_dict(config), TemporaryDirectory() as folder:
        config.model = model.copy()
        config.model.update({name: x for name, x in EASY.items() if name in model})
        config.folder = str(Path(folder) / "run")
        subject = _train(config)
    days = [subject.day(row) for row in subject.rows[:: max(1, len(subject.rows) // DAYS)]]
    values: dict[str, float] = {}
    if subject.attends_to_stocks:
        matrices = [stock_matrix(subject.model.inside(day)) for day in days]
        values |= _measure(subject, days, matrices, "attention")
    found, weights, few = [], [], days[:: -(-len(days) // ATTRIBUTED)]
    for day in few:
        stocks = _followers(subject, day)
        attributed = attribute(subject.model, day, stocks, rough=True)
        if not attributed.looks_at_others:
            return values
        matrix = torch.zeros(len(day.stocks), len(day.stocks))
        others = attributed.others.abs().nan_to_num()
        matrix[stocks] = others / others.sum(dim=1, keepdim=True).clamp_min(1e-30)
        found.append(matrix)
        inputs = (day.features - day.features.mean(dim=0)).abs().mean(dim=(1, 2))
        weights.append(matrix / inputs if attributed.method == GRADIENTS else matrix)
    leaders = _measure(subject, few, weights, "attribution")["attribution_leaders"]
    values |= _measure(subject, few, found, "attribution")
    return values | {"attribution_leaders": leaders}


def _train(config: DictConfig) -> Subject:
    run = fit(config)
    if run.best is not None:
        content = read_checkpoint(run.best)
        run.model.load_state_dict(content["state_dict"])
    model = run.model.cpu().eval()
    model.build_memory(run.data.days("train"))
    return Subject(config, model, run.data, run.data.segments["test"])


def _leaders(subject: Subject, day: DayBatch) -> Tensor:
    """Return which stocks of a day lead their sector, [N] bool: those that nobody precedes."""
    planted = subject.data.market.planted
    assert planted is not None
    return (planted.signals["sector"][:, day.stocks] == 0).all(dim=0)


def _followers(subject: Subject, day: DayBatch) -> Tensor:
    """Return the places of stocks that others precede; of any stocks if no lead-lag is planted."""
    follows = ~_leaders(subject, day)
    places = (follows if follows.any() else ~follows).nonzero().flatten()
    return places[torch.linspace(0, len(places) - 1, STOCKS).long()]


def _measure(
    subject: Subject, days: Sequence[DayBatch], matrices: Sequence[Tensor], name: str
) -> dict[str, float]:
    lifts, leaders = [], []
    for day, matrix in zip(days, matrices, strict=True):
        groups = sectors_of(day, subject.concepts)
        others = matrix.clone().fill_diagonal_(0)
        others = others / others.sum(dim=1, keepdim=True).clamp_min(1e-30)
        lifts.append(within_lift(sector_matrix(others, groups), groups))
        same = groups.codes[:, None] == groups.codes[None]
        same.fill_diagonal_(False)
        lead = _leaders(subject, day)
        rows = (others.sum(dim=1) > 0) & ~lead
        inside = others[rows] * same[rows]
        n_lead, n_other = (same[rows] & lead).sum(), (same[rows] & ~lead).sum()
        leaders.append(float((inside * lead).sum() / n_lead / ((inside * ~lead).sum() / n_other)))
    return {
        f"{name}_lift": sum(lifts) / len(lifts),
        f"{name}_leaders": sum(leaders) / len(leaders),
    }
