"""Explain a run: what its model looks at, as tables, figures and a page."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch

from alphazoo.data.days import DayBatch
from alphazoo.errors import InputError
from alphazoo.explain.attribution import Attributions
from alphazoo.explain.checks import check
from alphazoo.explain.explanation import Explanation, Part, Seen
from alphazoo.explain.gate import show_gate
from alphazoo.explain.over_concepts import show_concepts, show_neighbours
from alphazoo.explain.over_inputs import show_inputs
from alphazoo.explain.over_market import show_market
from alphazoo.explain.over_predictors import show_predictors
from alphazoo.explain.over_stocks import show_stocks
from alphazoo.explain.over_terms import show_factors, show_terms
from alphazoo.explain.over_time import show_frequencies, show_time, show_weights
from alphazoo.explain.sectors import sectors_of
from alphazoo.explain.subject import (
    ATTRIBUTION,
    SECTORS,
    Subject,
    choose_kinds,
    choose_stocks,
    open_subject,
)
from alphazoo.explain.tables import day_tables
from alphazoo.models.probe import KINDS
from alphazoo.runs.run import Run

SHOW: dict[str, Callable[[Mapping[str, pd.DataFrame], Seen], Part]] = {
    "concepts": show_concepts,
    "neighbours": show_neighbours,
    "time": show_time,
    "frequencies": show_frequencies,
    "weights": show_weights,
    "factors": show_factors,
    "terms": show_terms,
}
ENDS = 2  # stocks with the highest and the lowest scores that are chosen by default, each


def explain(
    run: Run | str | Path,
    *,
    date: str | None = None,
    first: str | None = None,
    last: str | None = None,
    what: Sequence[str] | None = None,
    symbols: Sequence[str] | None = None,
    checks: bool = False,
    seeds: Sequence[Run | str | Path] = (),
) -> Explanation:
    """Show what the model of a run looks at; everything runs on the CPU.

    Args:
        run: The run, or its folder.
        date: The only day that is looked at.
        first: The first of several days. Without ``date``, ``first`` and ``last``, these are the
            last 60 test days. The last day is shown in full.
        last: The last of several days.
        what: What to show, of `alphazoo.explain.subject.WHAT`; by default all that the model can.
        symbols: Stocks whose scores are attributed to inputs; by default the two with the highest
            and the two with the lowest scores.
        checks: Whether to check the explanation, see `alphazoo.explain.checks`; takes minutes.
        seeds: Runs, or their folders, that differ from the run by their seed, for the checks.

    Raises:
        InputError: The run has no checkpoint or is an ensemble, a day is not in the data, a symbol
            was no member, the model cannot show what is asked for, or Captum is not installed.
    """
    opened = run if isinstance(run, Run) else Run.open(run)
    others = [other if isinstance(other, Run) else Run.open(other) for other in seeds]
    subject = open_subject(opened, date=date, first=first, last=last)
    return explain_subject(subject, what=what, symbols=symbols, checks=checks, seeds=others)


def explain_subject(
    subject: Subject,
    *,
    what: Sequence[str] | None = None,
    symbols: Sequence[str] | None = None,
    checks: bool = False,
    seeds: Sequence[Run] = (),
) -> Explanation:
    """Show what a model looks at that is in memory, see `explain`."""
    kinds = choose_kinds(subject, what)
    day = subject.day(subject.rows[-1])
    with torch.no_grad():
        scores = subject.model(day)
    order = scores.argsort(descending=True).tolist()
    ends = [*dict.fromkeys([*order[:ENDS], *order[-ENDS:]])]
    stocks = choose_stocks(subject, day, symbols, ends)
    parts = show_parts(subject, day, scores, kinds, stocks)
    found = None
    if ATTRIBUTION in kinds:
        inputs, found = _inputs(subject, day, stocks, asked=what is not None)
        parts.append(inputs)
    if checks:
        parts.insert(0, check(subject, parts, found, seeds))
    start, end = (f"{subject.date(subject.rows[place]):%Y-%m-%d}" for place in (0, -1))
    several = len(subject.rows) > 1
    span = f"{start} to {end}, trading days: {len(subject.rows)}; the last day" if several else end
    folder = str(subject.run.folder) if subject.run else "none, the model is in memory"
    return Explanation(
        f"What {subject.name} looks at, on {subject.data.market.name}",
        f"{span}, of {len(day.stocks)} stocks, is shown in full",
        f"{start}_{end}",
        parts,
        {"run": folder, "seed": str(subject.config.seed), "device": "CPU"},
    )


def show_parts(
    subject: Subject,
    day: DayBatch,
    scores: torch.Tensor,
    kinds: Sequence[str],
    stocks: list[int],
) -> list[Part]:
    """Return what a model shows of itself, without attributions.

    Args:
        subject: The model and its data.
        day: The last day.
        scores: [N], scores of the day.
        kinds: What to show.
        stocks: Places of the chosen stocks in the day.
    """
    shown = subject.model.inside(day, *[kind for kind in kinds if kind in KINDS] or ["none"])
    symbols, groups = subject.symbols(day), sectors_of(day, subject.concepts)
    sectors = pd.Series([groups.names[code] for code in groups.codes.tolist()], symbols)
    seen = Seen(
        f"{subject.date(int(day.date)):%Y-%m-%d}",
        pd.Series(scores.numpy(), symbols),
        sectors,
        [symbols[place] for place in stocks],
    )
    parts = []
    if SECTORS in kinds or "attention" in kinds:
        parts.append(show_stocks(subject, sectors=bool(subject.concepts)))
    for kind in kinds:
        own = {name: x for name, x in shown.items() if x.kind == kind}
        if kind == "attention":
            parts[0].tables |= day_tables(subject, day, own, stocks)
        elif kind == "gate":
            parts.append(show_gate(subject))
        elif kind == "predictors":
            tables = day_tables(subject, day, own, stocks)
            parts.append(show_predictors(subject, tables["routes"], seen))
        elif kind == "market":
            tables = day_tables(subject, day, own, stocks)
            parts.append(show_market(subject, tables["market"]))
        elif kind in SHOW:
            parts.append(SHOW[kind](day_tables(subject, day, own, stocks), seen))
    return parts


def _inputs(
    subject: Subject, day: DayBatch, stocks: list[int], *, asked: bool
) -> tuple[Part, Attributions | None]:
    """Return the attributions, or why there are none if they were not asked for by name."""
    try:
        return show_inputs(subject, day, stocks)
    except InputError as error:
        if asked:
            raise
        return Part("Inputs", notes=[f"There are no attributions: {error}."]), None
