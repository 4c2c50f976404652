"""Groups runs into replicates: runs whose settings and data differ only by the seed."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from alphazoo.config import DERIVED_KEYS, FILE_KEYS, flatten
from alphazoo.errors import shorten
from alphazoo.runs.run import Run

log = logging.getLogger(__name__)

# keys in which replicates may differ: the seed, files and devices, and keys that repeat others
LEFT_OUT = (
    *(
        *FILE_KEYS,
        *DERIVED_KEYS,
        "seed",
        "ensemble",
        "report",
        "trainer.accelerator",
        "trainer.devices",
    ),
    *("trainer.num_nodes", "trainer.strategy", "trainer.enable_progress_bar"),
)
LONGEST = 24  # characters of a value in the name of a group

Replicates = list[Run]
GroupName = str | tuple[str, ...]  # name of a group: one or several columns of a table


def find_runs(
    folders: Iterable[str | Path], *, own: Sequence[Path] = (), trust: bool = False
) -> list[Run]:
    """Open runs; a folder of runs, such as a sweep, stands for all its runs with results.

    Runs without results in such a folder are left out with a warning. For ``own`` and ``trust``
    see `Run.open`.

    Raises:
        InputError: A folder is neither a run nor a folder of runs, or a run is not trusted.
    """
    open_run = partial(Run.open, own=own, trust=trust)
    runs = []
    for folder in map(Path, folders):
        inside = sorted(file.parent for file in folder.glob("*/config.yaml"))
        if (folder / "config.yaml").is_file() or not inside:
            runs.append(open_run(folder))
            continue
        ended = [path for path in inside if (path / "metrics.json").is_file()]
        if len(ended) < len(inside):
            others = shorten(path.name for path in inside if path not in ended)
            count = f"{len(inside) - len(ended)} of {len(inside)} runs in {folder}"
            log.warning("left out %s without results: %s", count, others)
        runs += map(open_run, ended)
    return runs


def group_replicates(runs: Sequence[Run]) -> dict[GroupName, Replicates]:
    """Group replicates; the name of a group holds the settings in which the groups differ.

    Runs on different data are in different groups, whose names hold the data's fingerprint.
    """
    settings = {id(run): _settings(run) for run in runs}
    data = {id(run): run.provenance.get("data", {}) for run in runs}
    fingerprints = {record.get("fingerprint") for record in data.values()}
    several = len(fingerprints) > 1
    if several and not all("parts" in record for record in data.values()):
        log.warning("some runs do not record their data, so they are not averaged with others")
    models: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        models[name_model(run)].append(run)
    groups: dict[GroupName, Replicates] = defaultdict(list)
    for model, same_model in models.items():
        keys = sorted(set().union(*(settings[id(run)] for run in same_model)))
        varied = [k for k in keys if len({settings[id(run)].get(k) for run in same_model}) > 1]
        for run in same_model:
            parts = [f"{key}={settings[id(run)].get(key)}" for key in varied]
            parts += [_describe(data[id(run)])] * several
            groups[" ".join([model, *parts])].append(run)
    return _split_by_concepts(groups)


def _describe(data: Mapping[str, Any]) -> str:
    """The data of runs, in words that are others for other data."""
    if not data:
        return "on unknown data"
    return f"on {data['market']} to {data['last']} ({data['fingerprint'][:8]})"


def _split_by_concepts(groups: Mapping[GroupName, Replicates]) -> dict[GroupName, Replicates]:
    """Split groups whose runs used different concepts, such as a newer version of a table."""
    found: dict[GroupName, Replicates] = defaultdict(list)
    for name, group in groups.items():
        digests = [str(run.provenance.get("data", {}).get("concepts"))[:8] for run in group]
        several = len({*digests}) > 1
        for run, digest in zip(group, digests, strict=True):
            found[f"{name} concepts={digest}" if several else name].append(run)
    return found


def name_model(run: Run) -> str:
    """Return the class of a run's model, or of an ensemble how it averages which models."""
    ensemble = run.config.get("ensemble")
    if not ensemble:
        return str(run.config.model._target_).rpartition(".")[2]
    counts = Counter(ensemble.get("models", []))
    if not counts:  # of an earlier version
        return f"{ensemble.by} ensemble of {len(ensemble.runs)} runs"
    names = (f"{count} x {name}" if count > 1 else name for name, count in sorted(counts.items()))
    return f"{ensemble.by} ensemble of {shorten(names, limit=6)}"


def _settings(run: Run) -> dict[str, str]:
    """Return the settings of a run by dotted key, without those of `LEFT_OUT`."""
    values = {key: str(value) for key, value in flatten(run.config, LEFT_OUT).items()}
    found = {k: v if len(v) <= LONGEST else f"{v:.{LONGEST}}..." for k, v in values.items()}
    if found.get("init_from", "None") != "None":
        found["init_from"] = "a checkpoint"  # each seed starts from its own
    return found
