"""Which runs belong together: those that differ by nothing but chance."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alphazoo.config import FILES, REPEATS, flatten
from alphazoo.errors import shorten
from alphazoo.runs import Run

log = logging.getLogger(__name__)

# what tells nothing of a run: chance, where it ran, and what repeats other keys
LEFT_OUT = (
    *(*FILES, *REPEATS, "seed", "ensemble", "report", "trainer.accelerator", "trainer.devices"),
    *("trainer.num_nodes", "trainer.strategy", "trainer.enable_progress_bar"),
)
LONGEST = 24  # letters of a value in the name of a group

Group = list[Run]
Name = str | tuple[str, ...]  # of a group, in one column of a table or several


def find_runs(folders: Iterable[str | Path]) -> list[Run]:
    """Open runs; a folder of runs, such as that of a sweep, stands for all in it with a result.

    Raises:
        InputError: A folder is neither.
    """
    runs = []
    for folder in map(Path, folders):
        inside = sorted(file.parent for file in folder.glob("*/config.yaml"))
        if (folder / "config.yaml").is_file() or not inside:
            runs.append(Run.open(folder))
            continue
        ended = [path for path in inside if (path / "metrics.json").is_file()]
        if len(ended) < len(inside):
            others = shorten(path.name for path in inside if path not in ended)
            count = f"{len(inside) - len(ended)} of {len(inside)} runs in {folder}"
            log.warning("left out %s, which have no result: %s", count, others)
        runs += map(Run.open, ended)
    return runs


def group_runs(runs: Sequence[Run]) -> dict[Name, Group]:
    """Runs that differ by nothing but chance, by what tells them from the other groups.

    Runs on different data are different groups, which their names say.
    """
    settings = {id(run): _settings(run) for run in runs}
    data = {id(run): run.facts.get("data", {}) for run in runs}
    prints = {number: facts.get("fingerprint") for number, facts in data.items()}
    several = len({*prints.values()}) > 1
    if several and not all("parts" in facts for facts in data.values()):
        log.warning("some runs do not say which data they were made on: they are not averaged")
    models: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        models[_model(run)].append(run)
    groups: dict[Name, Group] = defaultdict(list)
    for model, alike in models.items():
        keys = sorted(set().union(*(settings[id(run)] for run in alike)))
        telling = [key for key in keys if len({settings[id(run)].get(key) for run in alike}) > 1]
        for run in alike:
            said = [f"{key}={settings[id(run)].get(key)}" for key in telling]
            said += [_describe(data[id(run)])] * several
            groups[" ".join([model, *said])].append(run)
    return _split_by_concepts(groups)


def _describe(data: Mapping[str, Any]) -> str:
    """The data of runs, in words that are others for other data."""
    if not data:
        return "on unknown data"
    return f"on {data['market']} to {data['last']} ({data['fingerprint'][:8]})"


def _split_by_concepts(groups: Mapping[Name, Group]) -> dict[Name, Group]:
    """Runs with the same settings may have been made with other concepts, such as a newer table."""
    found: dict[Name, Group] = defaultdict(list)
    for name, group in groups.items():
        digests = [str(run.facts.get("data", {}).get("concepts"))[:8] for run in group]
        several = len({*digests}) > 1
        for run, digest in zip(group, digests, strict=True):
            found[f"{name} concepts={digest}" if several else name].append(run)
    return found


def _model(run: Run) -> str:
    kind = str(run.config.model._target_).rpartition(".")[2]
    made = run.config.get("ensemble")
    return f"{kind}, {made.by} ensemble of {len(made.runs)}" if made else kind


def _settings(run: Run) -> dict[str, str]:
    """Dotted keys and values of a run, interpolations resolved."""
    told = {key: str(value) for key, value in flatten(run.config, LEFT_OUT).items()}
    found = {k: v if len(v) <= LONGEST else f"{v:.{LONGEST}}..." for k, v in told.items()}
    if found["init_from"] != "None":
        found["init_from"] = "a checkpoint"  # each seed has its own
    return found
