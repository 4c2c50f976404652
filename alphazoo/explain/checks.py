"""How far an explanation can be trusted: five checks, each a number with what it should be.

Attention is not explanation by itself (Jain and Wallace 2019, https://arxiv.org/abs/1902.10186),
nor nothing (Wiegreffe and Pinter 2019, https://arxiv.org/abs/1908.04626), and attributions must
change when the weights are drawn anew (Adebayo et al. 2018, https://arxiv.org/abs/1810.03292).
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from alphazoo.config import instantiate
from alphazoo.data.days import DayBatch, Days
from alphazoo.errors import InputError, shorten
from alphazoo.evaluation.report import Table
from alphazoo.explain import definitions
from alphazoo.explain.attribution import PERMUTATION, TREES, Attributions, attribute
from alphazoo.explain.explanation import Part
from alphazoo.explain.planted import find_planted
from alphazoo.explain.subject import Subject, open_subject
from alphazoo.metrics import correlate, summary
from alphazoo.models.probe import equal_shares, find_probes
from alphazoo.runs.replicates import group_replicates
from alphazoo.runs.run import Run

NETWORKS = 10  # with random weights
DRAWS = 5  # of random inputs
MEMORY = 50  # training days of the memory of a model with random weights
PART = 0.1  # of the inputs that are replaced


class Result(NamedTuple):
    """The result of a check.

    Attributes:
        name: Name of the check.
        metrics: Its numbers, by what they are.
        text: The result in a sentence, or why the check cannot be made.
        about: ``Part.checked_as`` of the figures whose captions repeat it.
    """

    name: str
    metrics: dict[str, float]
    text: str
    about: str


def check(
    subject: Subject, parts: Sequence[Part], found: Attributions | None, seeds: Sequence[Run]
) -> Part:
    """Check an explanation, and add the results to its captions.

    Args:
        subject: The model and its data.
        parts: What is shown.
        found: Attributions of the last day, if there are any.
        seeds: Runs that differ by their seed.

    Raises:
        InputError: A run of ``seeds`` differs by more than its seed.
    """
    results = [
        check_uniform(subject),
        check_seeds(subject, seeds),
        *_check_inputs(subject, found),
        check_planted(subject),
    ]
    part = Part("Checks", definitions=dict(definitions.CHECKS))
    for result in results:
        part.metrics |= {f"{result.name}/{name}": x for name, x in result.metrics.items()}
    part.tables["checks"] = pd.DataFrame(
        [(r.name, name, x) for r in results for name, x in r.metrics.items()],
        columns=["check", "metric", "value"],
    )
    part.page.append(Table([[r.name, r.text] for r in results]))
    for shown in parts:
        told = " ".join(r.text for r in results if r.about == shown.checked_as and r.metrics)
        for name in shown.captions:
            shown.captions[name] += f" {told}" if told else ""
    return part


def check_uniform(subject: Subject) -> Result:
    """Compare the IC with that of the same model whose attention is replaced by equal shares."""
    if not any(probe.shares for probe in find_probes(subject.model).values()):
        return Result("uniform", {}, f"{subject.name} has no attention to replace.", "attention")
    with_attention, without = (_ic(subject, equal=equal) for equal in (False, True))
    text = (
        f"With equal shares in place of all attention, the IC of these days is {without:.4f} "
        f"instead of {with_attention:.4f}."
    )
    values = {"ic": with_attention, "equal_ic": without, "difference": without - with_attention}
    return Result("uniform", values, text, "attention")


@torch.no_grad()
def _ic(subject: Subject, *, equal: bool) -> float:
    frames = []
    with equal_shares(subject.model) if equal else nullcontext():
        for row in subject.rows:
            day = subject.day(row)
            values = {"date": row, "score": subject.model(day), "return": day.returns}
            frames.append(pd.DataFrame(values))
    return summary(pd.concat(frames))["ic"]


def check_seeds(subject: Subject, runs: Sequence[Run]) -> Result:
    """Compare what runs of other seeds attend to on the last day.

    Raises:
        InputError: A run differs by more than its seed.
    """
    nothing = f"{subject.name} has no attention to compare."
    shows = any(probe.shares for probe in find_probes(subject.model).values())
    if not runs:
        text = "Not compared with other seeds: seeds=RUN,RUN names runs that differ by their seed."
        return Result("seeds", {}, text if shows else nothing, "attention")
    own_run = [subject.run] if subject.run else []
    groups = group_replicates([*own_run, *runs])
    if len(groups) > 1:
        raise InputError(f"seeds: the runs differ by more than their seed: {shorten(groups)}")
    date = f"{subject.date(subject.rows[-1]):%Y-%m-%d}"
    own, values = _shares(subject), []
    for run in runs:
        other = _shares(open_subject(run, date=date))
        values += [_rank_correlation(own[name], other[name]) for name in own]
    if not values:
        return Result("seeds", {}, nothing, "attention")
    mean = sum(values) / len(values)
    text = f"Weights of {len(runs) + 1} seeds have a mean rank correlation of {mean:.2f}."
    return Result("seeds", {"rank_correlation": mean}, text, "attention")


def _shares(subject: Subject) -> dict[str, Tensor]:
    """Return the shares of the last day, [rows, X], mean over all axes but the first and last."""
    probes = find_probes(subject.model)
    shown = subject.model.inside(subject.day(subject.rows[-1]))
    found = {}
    for name, part in shown.items():
        if probes[name].shares:
            values = part.tensor[None]  # one row, unless there is one for each stock
            if "stock" in part.axes:
                values = part.tensor.movedim(part.axes.index("stock"), 0)
            found[name] = values.flatten(1, -2).mean(dim=1) if values.ndim > 2 else values
    return found


def _rank_correlation(first: Tensor, second: Tensor) -> float:
    """Return the mean rank correlation of rows, over what either has a weight of."""
    used = (first > 0) | (second > 0)
    panels = (values.double().where(used, torch.nan).numpy() for values in (first, second))
    return float(correlate(*panels)["rank_ic"].mean())


def _check_inputs(subject: Subject, found: Attributions | None) -> list[Result]:
    if found is None:
        text = "There are no attributions to check: add attribution to what."
        return [Result(name, {}, text, "attribution") for name in ("randomised", "deletion")]
    day = subject.day(subject.rows[-1])
    return [check_randomised(subject, day, found), check_deletion(subject, day, found)]


def check_randomised(subject: Subject, day: DayBatch, found: Attributions) -> Result:
    """Compare attributions with those of the same network with random weights."""
    if found.method == TREES:
        return Result("randomised", {}, "Trees have no weights to draw anew.", "attribution")
    values = []
    stocks = found.stocks[[0, -1]]
    own = found.inputs[[0, -1]].flatten(1).double().numpy()
    for draw in range(NETWORKS):
        with torch.random.fork_rng():
            torch.manual_seed(draw)
            model = instantiate(subject.config.model).eval()
        train = subject.data.days("train")
        model.build_memory(Days(train.rows[:: -(-len(train) // MEMORY)], train.panels))
        other = attribute(model, day, stocks, method=found.method, replace_others=False, rough=True)
        panel = other.inputs.flatten(1).double().numpy()
        values.append(float(correlate(own, panel)["rank_ic"].mean()))
    mean = sum(values) / len(values)
    text = (
        f"With random weights, attributions have a rank correlation of {mean:.2f} with these "
        f"(mean of {NETWORKS} draws; 0 if they depend on what was learned)."
    )
    return Result("randomised", {"rank_correlation": mean}, text, "attribution")


@torch.no_grad()
def check_deletion(subject: Subject, day: DayBatch, found: Attributions) -> Result:
    """Replace the inputs with the largest attributions by the day's mean, and as many others."""
    random = torch.Generator().manual_seed(0)
    score, mean = subject.model(day), day.features.mean(dim=0).expand_as(day.features)
    top, other = 0.0, 0.0
    for row, place in enumerate(found.stocks.tolist()):
        sizes = (found.inputs if found.full is None else found.full)[row].abs()
        count = max(1, round(PART * sizes.numel()))
        chosen = [sizes.flatten().topk(count).indices]
        chosen += [torch.randperm(sizes.numel(), generator=random)[:count] for _ in range(DRAWS)]
        changes = []
        for cells in chosen:
            replaced = torch.zeros(sizes.shape, dtype=torch.bool)
            replaced.view(-1)[cells] = True
            mask = _inputs_of(found, replaced, place, day)
            after = subject.model(day._replace(features=torch.where(mask, mean, day.features)))
            changes.append(float((after - score)[place].abs()))
        top += changes[0]
        other += sum(changes[1:]) / DRAWS
    ratio = top / other if other > 0 else torch.nan
    text = (
        "Replacing the tenth of the inputs with the largest attributions changes the scores "
        f"{ratio:.1f} times as much as replacing a random tenth."
    )
    return Result("deletion", {"ratio": ratio}, text, "attribution")


def _inputs_of(found: Attributions, chosen: Tensor, place: int, day: DayBatch) -> Tensor:
    """Return which inputs of the day [N, T, F] the chosen attributions of a stock stand for."""
    if found.full is not None:
        return chosen
    if found.method == PERMUTATION:  # the inputs of all stocks were permuted together
        return chosen.expand_as(day.features)
    mask = torch.zeros_like(day.features, dtype=torch.bool)
    mask[place] = chosen
    return mask


def check_planted(subject: Subject) -> Result:
    """Train the same network on a synthetic market, and look for what was planted there."""
    values = find_planted(subject.config.model)
    if not values:
        text = f"{subject.name} scores each stock by itself: it has no stocks to find."
        return Result("planted", {}, text, "planted")
    text = (
        "On a synthetic market, in which the leaders of a sector precede its other stocks, the "
        "same network has "
        + "; ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in values.items())
        + " (1 is chance)."
    )
    return Result("planted", values, text, "planted")
