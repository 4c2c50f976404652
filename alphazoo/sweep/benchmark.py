"""The result of a benchmark: the published table of its runs, and a row for each of them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from alphazoo.compare import compare, write_comparison
from alphazoo.config import instantiate
from alphazoo.data.fingerprint import Fingerprint
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError, shorten
from alphazoo.facts import data_facts
from alphazoo.files import write_table
from alphazoo.groups import Group, Name
from alphazoo.runs import Run, read_facts
from alphazoo.sweep.combine import Pair
from alphazoo.sweep.data import REMEDY, find_outdated
from alphazoo.sweep.jobs import is_done, read_job
from alphazoo.sweep.plan import Entry, Plan
from alphazoo.sweep.table import check_ended, tabulate

NAMES = ("model", "features")

Print = tuple[str, str | None]  # of the market, and of the concepts


@dataclass(frozen=True)
class Known:
    """What is known of the data of a benchmark before it runs.

    Attributes:
        prints: Of the data of each feature set and model: those of now, and those of runs that
            have ended, from which the data of now have grown.
        outdated: Folders of runs that have new days to score.
    """

    prints: Mapping[Pair, Set[Print]]
    outdated: Sequence[Path] = ()


def read_data(plan: Plan) -> Known:
    """Read the data of each feature set, as its jobs will, and compare them with earlier runs.

    Raises:
        InputError: The data cannot be used, or have changed since a run.
    """
    now: dict[Pair, Fingerprint] = {}
    prints: dict[Pair, set[Print]] = {}
    read: dict[str, tuple[Fingerprint, Print]] = {}
    for pair, recipe in plan.recipes.items():
        which = f"{pair[0]} {recipe.config.data.concepts}"
        if which not in read:
            data: MarketDataModule = instantiate(recipe.config.datamodule)
            data.setup()
            read[which] = (data.fingerprint, _print(data_facts(data)))
        now[pair], known = read[which]
        prints[pair] = {known}
    ended = [(entry, read_facts(entry.folder).get("data", {})) for entry in plan.entries]
    ended = [(entry, facts) for entry, facts in ended if facts]
    outdated = find_outdated(
        (e.folder, plan.recipes[_pair(e)].config, now[_pair(e)]) for e, _ in ended
    )
    for entry, facts in ended:
        prints[_pair(entry)].add(_print(facts))
    return Known(prints, [path for path in outdated if is_done(path)])


def check_data(entries: Iterable[Entry], known: Known) -> None:
    """Refuse to average runs on data that have changed while the benchmark ran.

    Args:
        entries: Of runs that have ended.
        known: What the data should be.

    Raises:
        InputError: A run has others.
    """
    other = []
    for entry in entries:
        facts = read_facts(entry.folder).get("data", {})
        if facts and _print(facts) not in known.prints[_pair(entry)]:
            other.append(f"{entry.folder} ({_say(_print(facts))}, to {facts['last']})")
    if other:
        raise InputError(
            f"the data of {shorten(other, 3)} are not those that the benchmark began with: {REMEDY}"
        )


def _pair(entry: Entry) -> Pair:
    return entry.features, entry.model


def _print(facts: Mapping[str, Any]) -> Print:
    return facts["fingerprint"], facts["concepts"]


def _say(found: Print) -> str:
    return f"fingerprint {found[0]}" + (f", concepts {found[1]}" if found[1] else "")


def conclude(folder: Path, plan: Plan, known: Known) -> None:
    """Print the table of a benchmark; write ``benchmark.md``, ``.csv``, ``.html``, ``.parquet``.

    Args:
        folder: Where to.
        plan: What was run.
        known: What the data are, see `read_data`.

    Raises:
        InputError: The data have changed while it ran.
        JobsFailedError: Some jobs have no result; the table is of the others.
    """
    shown = [entry for entry in plan.entries if entry.shown]
    write_table(_rows(shown), folder / "benchmark.parquet")
    ended = [entry for entry in shown if is_done(entry.folder)]
    check_data(ended, known)
    groups: dict[Name, Group] = defaultdict(list)
    for entry in ended:
        groups[entry.model, entry.features].append(Run.open(entry.folder))
    if groups:
        order = compare(groups, NAMES)[("IC", "mean")].sort_values(ascending=False).index
        groups = {name: groups[name] for name in order}
        notes = [*_notes(plan, shown, groups)]
        table = write_comparison(
            folder, groups, file="benchmark", title="Benchmark", names=NAMES, notes=notes
        )
        print("\n".join(notes), table.to_string(index=False), sep="\n\n")
        print(f"results: {folder / 'benchmark.md'}")
    check_ended([entry.folder for entry in plan.entries])


def _rows(entries: Sequence[Entry]) -> pd.DataFrame:
    """Settings, figures, cost and facts of each run."""
    table = tabulate({entry.folder: read_job(entry.folder) for entry in entries})
    facts = [read_facts(entry.folder) for entry in entries]
    about = {
        "model": [entry.model for entry in entries],
        "features": [entry.features for entry in entries],
        "fingerprint": [found.get("data", {}).get("fingerprint") for found in facts],
        "settings": [found.get("settings") for found in facts],
    }
    costs = pd.DataFrame([found.get("cost", {}) for found in facts])
    rest = table.drop(columns=["seconds", "experiment"], errors="ignore")
    return pd.concat([pd.DataFrame(about), costs, rest], axis=1)


def _notes(plan: Plan, entries: Sequence[Entry], groups: Mapping[Name, Group]) -> Iterator[str]:
    """What a reader of the table must know."""
    runs = [run for group in groups.values() for run in group]
    yield _data_note(runs[0])
    yield _protocol_note(plan, groups)
    told = [text for key, text in plan.told.items() if key not in ("sweep", "ckpt")]
    if told:
        yield f"Set for all: {', '.join(told)}."
    for base in dict.fromkeys(recipe.base for recipe in plan.recipes.values() if recipe.base):
        based = {model: None for (_, model), r in plan.recipes.items() if r.base == base}
        yield (
            f"{', '.join(based)}: start from the encoder of a trained {base} of the same features, "
            "seed and settings, which is not in their seconds."
        )
    for (features, model), recipe in plan.recipes.items():
        concepts = [text for text in recipe.added if text.startswith("data/concepts=")]
        if concepts:
            yield f"{model} on {features}: {concepts[0]}, as the data have no concepts."
    if plan.absent:
        pairs = [f"{model} on {features}" for features, model in plan.absent]
        yield f"Left out, without published settings: {', '.join(pairs)}."
    if len(runs) < len(entries):
        yield f"{len(entries) - len(runs)} of {len(entries)} runs have no result."
    machines = [run.facts["machine"] for run in runs if "machine" in run.facts]
    kinds = [f"{m['device']}, {m['cores']} cores, {m['system']}" for m in machines]
    yield f"Machine: {'; '.join(dict.fromkeys(kinds))}."


def _data_note(run: Run) -> str:
    data, config = run.facts["data"], run.config.data
    spans = [
        f"{name} {max(str(config[name][0] or ''), data['first'])} to "
        f"{min(str(config[name][1] or data['last']), data['last'])}"
        for name in ("train", "valid", "test")
    ]
    return (
        f"Data: {data['market']}, {data['stocks']} stocks, {data['days']} days {data['first']} to "
        f"{data['last']}, fingerprint {data['fingerprint']}; {', '.join(spans)}."
    )


def _protocol_note(plan: Plan, groups: Mapping[Name, Group]) -> str:
    epochs: dict[int, dict[str, None]] = defaultdict(dict)
    for name, runs in groups.items():
        epochs[runs[0].config.trainer.max_epochs][name[0]] = None
    monitors = dict.fromkeys(runs[0].config.monitor for runs in groups.values())
    most = "; ".join(f"{count} ({', '.join(epochs[count])})" for count in sorted(epochs))
    share = f"{plan.budget:g} of the epochs and patience" if plan.budget != 1 else "all epochs"
    return (
        f"Published settings on daily batches, budget {plan.budget:g}: {share}; epochs at most "
        f"{most}, of which the best by {' or '.join(monitors)}; seeds "
        f"{', '.join(plan.seeds)}."
    )
