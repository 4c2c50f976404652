"""alphazoo monitor, update, versions, promote and rollback: commands on a model at work."""

import sys
from pathlib import Path
from typing import Any

from alphazoo.commands.arguments import (
    compose_config,
    number,
    split_arguments,
    take_config_dir,
    truth,
)
from alphazoo.commands.catalog import expected
from alphazoo.commands.importing import importing
from alphazoo.errors import InputError
from alphazoo.training.quiet import silence_libraries

ALARM_STATUS = 2
GROUP = "monitoring"


def monitor(arguments: list[str]) -> None:
    """Check a model at work; exit with status 2 if a monitor is in alarm."""
    own, rest = split_arguments(arguments, "monitor")
    make = truth(own, "reference")
    if "run" not in own or ("scores" in own) == make:
        raise InputError(expected("monitor"))
    with importing():
        from alphazoo.models.checkpoint import read_checkpoint
        from alphazoo.runs.run import Run
        from alphazoo.serving.monitor.monitor import load_data
        from alphazoo.serving.monitor.monitor import monitor as run_monitors
        from alphazoo.serving.monitor.page import write_monitoring
        from alphazoo.serving.monitor.reference import keep_reference
        from alphazoo.serving.monitor.webhook import notify

    silence_libraries()
    chosen = [argument for argument in rest if argument.startswith(GROUP)]
    overrides, folders = take_config_dir([a for a in rest if a not in chosen])
    limits = _limits(chosen, folders)
    run = Run.open(own["run"], overrides, own=folders, trust=truth(own, "trust"))
    if make:
        keep_reference(run, load_data(run, read_checkpoint(run.last_window.checkpoint)))
        print(f"{run.folder}: the reference of its training and validation days is written")
        return
    folder = Path(own.get("out", run.folder / "monitor"))
    found = run_monitors(
        run,
        Path(own["scores"]),
        folder,
        limits,
        version=own.get("version"),
        today=own.get("today"),
        since=own.get("since"),
        accept=truth(own, "accept"),
    )
    files = write_monitoring(folder, found)
    _print_states(found.states)
    print(f"results: {', '.join(map(str, files))}")
    if found.summary["alarms"]:
        notify(found.summary)
        sys.stdout.flush()
        sys.exit(ALARM_STATUS)


def update(arguments: list[str]) -> None:
    """Train a child of a run on the days since, and compare the two; the command resumes it."""
    own, rest = split_arguments(arguments, "update")
    if "run" not in own:
        raise InputError(expected("update"))
    with importing():
        from alphazoo.commands.job import train
        from alphazoo.commands.output import log_to_file
        from alphazoo.runs.run import Run
        from alphazoo.serving.update import plan_update, write_update

    silence_libraries()
    overrides, folders = take_config_dir(rest)
    run = Run.open(own["run"], overrides, own=folders, trust=truth(own, "trust"))
    config = plan_update(
        run,
        until=own.get("until"),
        replay=number(own, "replay", 1.0),
        valid_days=number(own, "valid_days", 20),
        test_days=number(own, "test_days", 20),
        folder=own.get("out"),
    )
    folder = Path(config.folder)
    if run.folder.resolve() == folder.resolve():
        raise InputError(f"out={folder} is the folder of the parent: choose another")
    folder.mkdir(parents=True, exist_ok=True)
    with log_to_file(folder / "train.log"):
        train(config)
    child = Run.open(folder, trust=True)  # this process wrote it
    found = write_update(child, run)
    print(
        f"rank IC on {found.days} days from {found.first} to {found.last}, new to both: parent "
        f"{found.old:.4f}, child {found.new:.4f} ({found.difference:+.1f} standard errors)"
    )
    print(f"results: {folder}")


def versions(arguments: list[str]) -> None:
    """Print the versions of a model of the registry."""
    own, rest = split_arguments(arguments, "versions")
    name, *rest = rest or [""]
    if not name or "=" in name or (rest and "scores" not in own):
        raise InputError(expected("versions"))
    from alphazoo.serving.versions import version_table

    silence_libraries()
    overrides, folders = take_config_dir(rest)
    scores = Path(own["scores"]) if "scores" in own else None
    table = version_table(
        name,
        own.get("tracking_uri"),
        scores=scores,
        overrides=overrides,
        own=folders,
        trust=truth(own, "trust"),
    )
    if scores is not None:
        table["live/days"] = table["live/days"].fillna(0).astype(int)
    print(table.to_string(index=False, na_rep="", float_format=lambda x: f"{x:.4f}"))


def promote(arguments: list[str]) -> None:
    """Make a version of a model the champion, unless it is worse than the champion."""
    own, rest = split_arguments(arguments, "promote")
    name, _, version = (rest[0] if rest else "").partition("/")
    if not name or not version or "=" in name:
        raise InputError(expected("promote"))
    from alphazoo.serving.versions import ERRORS
    from alphazoo.serving.versions import promote as make_champion

    silence_libraries()
    overrides, folders = take_config_dir(rest[1:])
    found = make_champion(
        name,
        version,
        reason=own.get("reason", ""),
        force=truth(own, "force"),
        errors=number(own, "errors", ERRORS),
        tracking_uri=own.get("tracking_uri"),
        overrides=overrides,
        own=folders,
        trust=truth(own, "trust"),
    )
    if found is not None:
        print(
            f"rank IC on {found.days} days from {found.first} to {found.last}, new to both: "
            f"champion {found.old:.4f}, {name}/{version} {found.new:.4f}"
        )
    print(f"models:/{name}@champion is version {version}")


def rollback(arguments: list[str]) -> None:
    """Make the version before the last promotion the champion again."""
    own, names = split_arguments(arguments, "rollback")
    if len(names) != 1 or "=" in names[0]:
        raise InputError(expected("rollback"))
    from alphazoo.serving.versions import rollback as go_back

    version = go_back(names[0], reason=own.get("reason", ""), tracking_uri=own.get("tracking_uri"))
    print(f"models:/{names[0]}@champion is version {version}")


def _limits(chosen: list[str], folders: list[Path]) -> Any:
    """Return the limits of a yaml file of ``configs/monitoring``, with the user's changes."""
    from alphazoo.config import instantiate

    choice = [argument for argument in chosen if argument.startswith(f"{GROUP}=")]
    values = [argument for argument in chosen if argument not in choice]
    own = [f"--config-dir={folder}" for folder in folders]
    config = compose_config([f"+{(choice or [f'{GROUP}=daily'])[-1]}", *values, *own], GROUP)
    return instantiate(config[GROUP])


def _print_states(states: dict[str, dict[str, Any]]) -> None:
    for name, state in states.items():
        limits = [f"{key} {state[key]:.4g}" for key in ("low", "high") if abs(state[key]) < 1e300]
        value = "" if state["value"] != state["value"] else f"{state['value']:.4g}"
        said = f"{name:<20}{state['status']:<8}{value:>10}  {', '.join(limits)}"
        print(f"{said:<68}{state['detail']}".rstrip())
