"""The results of a benchmark: a table like the published one, and a row per run."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from alphazoo.config import instantiate
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError, shorten
from alphazoo.evaluation.compare import compare, write_comparison
from alphazoo.files import write_table
from alphazoo.market.fingerprint import Fingerprint
from alphazoo.runs.provenance import data_provenance
from alphazoo.runs.replicates import GroupName, Replicates
from alphazoo.runs.run import Run, read_provenance
from alphazoo.runs.trust import trust_config
from alphazoo.sweep.combine import Pair
from alphazoo.sweep.data import REMEDY, find_outdated
from alphazoo.sweep.jobs import is_done, read_job
from alphazoo.sweep.plan import BenchmarkJob, Plan
from alphazoo.sweep.table import check_ended, tabulate

NAMES = ("model", "features")

Print = tuple[str, str | None]  # fingerprint of the market, digest of the concepts


@dataclass(frozen=True)
class Known:
    """The data of a benchmark, as read before it runs.

    Attributes:
        prints: Accepted fingerprints for each feature set and model: that of the current data, and
            those of finished runs whose data have grown into the current data.
        outdated: Folders of finished runs that have new days to score.
    """

    prints: Mapping[Pair, Set[Print]]
    outdated: Sequence[Path] = ()


def read_data(plan: Plan) -> Known:
    """Read the data of each feature set and model, and compare them with finished runs.

    Raises:
        InputError: The data cannot be used, or have changed since a run.
    """
    now: dict[Pair, Fingerprint] = {}
    prints: dict[Pair, set[Print]] = {}
    read: dict[str, tuple[Fingerprint, Print]] = {}
    for pair, recipe in plan.recipes.items():
        key = f"{pair[0]} {recipe.config.data.concepts}"
        if key not in read:
            data: MarketDataModule = instantiate(recipe.config.datamodule)
            data.setup()
            read[key] = (data.fingerprint, _print(data_provenance(data)))
        now[pair], known = read[key]
        prints[pair] = {known}
    started = [(entry, read_provenance(entry.folder).get("data", {})) for entry in plan.entries]
    started = [(entry, record) for entry, record in started if record]
    outdated = find_outdated(
        (e.folder, plan.recipes[_pair(e)].config, now[_pair(e)]) for e, _ in started
    )
    for entry, record in started:
        prints[_pair(entry)].add(_print(record))
    return Known(prints, [path for path in outdated if is_done(path)])


def check_data(entries: Iterable[BenchmarkJob], known: Known) -> None:
    """Refuse to average runs if the data changed while the benchmark ran.

    Args:
        entries: Entries of finished runs.
        known: The data of the benchmark.

    Raises:
        InputError: A run has other data.
    """
    other = []
    for entry in entries:
        record = read_provenance(entry.folder).get("data", {})
        if record and _print(record) not in known.prints[_pair(entry)]:
            other.append(f"{entry.folder} ({_describe(_print(record))}, to {record['last']})")
    if other:
        raise InputError(
            f"the data of {shorten(other, 3)} differ from those at the start of the benchmark: "
            f"{REMEDY}"
        )


def _pair(entry: BenchmarkJob) -> Pair:
    return entry.features, entry.model


def _print(record: Mapping[str, Any]) -> Print:
    return record["fingerprint"], record["concepts"]


def _describe(found: Print) -> str:
    return f"fingerprint {found[0]}" + (f", concepts {found[1]}" if found[1] else "")


def conclude(folder: Path, plan: Plan, known: Known) -> None:
    """Print the table of a benchmark; write ``benchmark.md``, ``.csv``, ``.html``, ``.parquet``.

    Args:
        folder: Folder of the benchmark.
        plan: The plan that was run.
        known: The data, see `read_data`.

    Raises:
        InputError: The data changed while the benchmark ran.
        JobsFailedError: Some jobs have no results; the table holds the others.
    """
    shown = [entry for entry in plan.entries if entry.shown]
    write_table(_rows(shown), folder / "benchmark.parquet")
    ended = [entry for entry in shown if is_done(entry.folder)]
    check_data(ended, known)
    groups: dict[GroupName, Replicates] = defaultdict(list)
    for entry in ended:
        trust_config(plan.recipes[_pair(entry)].config)
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


def _rows(entries: Sequence[BenchmarkJob]) -> pd.DataFrame:
    """Return one row per run: settings, metrics, resources and provenance."""
    table = tabulate({entry.folder: read_job(entry.folder) for entry in entries})
    provenance = [read_provenance(entry.folder) for entry in entries]
    about = {
        "model": [entry.model for entry in entries],
        "features": [entry.features for entry in entries],
        "fingerprint": [found.get("data", {}).get("fingerprint") for found in provenance],
        "settings": [found.get("settings") for found in provenance],
    }
    resources = pd.DataFrame([found.get("resources", {}) for found in provenance])
    rest = table.drop(columns=["seconds", "experiment"], errors="ignore")
    return pd.concat([pd.DataFrame(about), resources, rest], axis=1)


def _notes(
    plan: Plan, entries: Sequence[BenchmarkJob], groups: Mapping[GroupName, Replicates]
) -> Iterator[str]:
    """Yield the notes above the table."""
    runs = [run for group in groups.values() for run in group]
    yield _data_note(runs[0])
    yield _protocol_note(plan, groups)
    given = [text for key, text in plan.given.items() if key not in ("sweep", "ckpt")]
    if given:
        yield f"Set for all: {', '.join(given)}."
    for base in dict.fromkeys(recipe.base for recipe in plan.recipes.values() if recipe.base):
        based = {model: None for (_, model), r in plan.recipes.items() if r.base == base}
        yield (
            f"{', '.join(based)}: start from the encoder of a trained {base} with the same "
            "features, seed and settings, whose training is not included in their seconds."
        )
    for (features, model), recipe in plan.recipes.items():
        concepts = [text for text in recipe.added if text.startswith("data/concepts=")]
        if concepts:
            yield f"{model} on {features}: {concepts[0]}, because the data have no concepts."
    if plan.absent:
        pairs = [f"{model} on {features}" for features, model in plan.absent]
        yield f"Left out for lack of published settings: {', '.join(pairs)}."
    if len(runs) < len(entries):
        yield f"{len(entries) - len(runs)} of {len(entries)} runs have no results."
    machines = [run.provenance["machine"] for run in runs if "machine" in run.provenance]
    kinds = [f"{m['device']}, {m['cores']} cores, {m['system']}" for m in machines]
    yield f"Machine: {'; '.join(dict.fromkeys(kinds))}."


def _data_note(run: Run) -> str:
    data, config = run.provenance["data"], run.config.data
    spans = [
        f"{name} {max(str(config[name][0] or ''), data['first'])} to "
        f"{min(str(config[name][1] or data['last']), data['last'])}"
        for name in ("train", "valid", "test")
    ]
    return (
        f"Data: {data['market']}, {data['stocks']} stocks, {data['days']} days {data['first']} to "
        f"{data['last']}, fingerprint {data['fingerprint']}; {', '.join(spans)}."
    )


def _protocol_note(plan: Plan, groups: Mapping[GroupName, Replicates]) -> str:
    epochs: dict[int, dict[str, None]] = defaultdict(dict)
    for name, runs in groups.items():
        epochs[runs[0].config.trainer.max_epochs][name[0]] = None
    monitors = dict.fromkeys(runs[0].config.monitor for runs in groups.values())
    most = "; ".join(f"{count} epochs ({', '.join(epochs[count])})" for count in sorted(epochs))
    share = f"{plan.budget:g} of the epochs and patience" if plan.budget != 1 else "all epochs"
    return (
        f"Published settings with daily batches, budget {plan.budget:g}: {share}; at most {most}, "
        f"of which the best by {' or '.join(monitors)} is used; seeds "
        f"{', '.join(plan.seeds)}."
    )
