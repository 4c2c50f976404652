"""Versions of a model in MLflow's registry: list them, promote one, and go back.

The champion is the version with the alias ``champion``. Each move of it is recorded in a tag of the
model, with time and reason, so that a rollback knows what was before.
"""

import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from alphazoo.config import instantiate
from alphazoo.data.lineage import last_day_seen
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError
from alphazoo.models.checkpoint import read_checkpoint
from alphazoo.runs.run import Run
from alphazoo.serving.live_metrics import live_metrics
from alphazoo.serving.update import Comparison, compare_runs
from alphazoo.tracking.registry import (
    PARENT,
    fetch,
    find_version,
    list_aliases,
    list_versions,
    open_store,
)
from alphazoo.tracking.store import reported

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

CHAMPION = "champion"
MOVES = "alphazoo.moves"  # tag of a model: JSON list of moves, oldest first
METRICS = ("val/ic", "val/rank_ic", "test/ic", "test/rank_ic")
ERRORS = 1.0  # standard errors by which a challenger may be worse
LEAST, MOST = 20, 250  # days on which two versions are compared


def version_table(
    name: str,
    tracking_uri: str | None = None,
    *,
    scores: Path | None = None,
    overrides: Sequence[str] = (),
    own: Sequence[Path] = (),
    trust: bool = False,
) -> pd.DataFrame:
    """Return the versions of a model: alias, parent, days, metrics, creation.

    Args:
        name: Name of the model.
        tracking_uri: Address of the registry.
        scores: A file of live scores, which adds the columns of
            `alphazoo.serving.live_metrics.live_metrics`.
        overrides: Changes to the config of the market, such as ``data.path=FOLDER``.
        own: The user's config folders.
        trust: Also open a version whose config could run arbitrary code.

    Raises:
        InputError: There is no such model, or the file holds no scores of it.
    """
    store, client = open_store(tracking_uri)
    with reported(store):
        aliases = list_aliases(client, name)
        versions = list_versions(client, name)
        rows = [_describe(client, number, found, aliases) for number, found in versions.items()]
    table = pd.DataFrame(rows)
    if scores is None:
        return table
    settings = {"overrides": overrides, "tracking_uri": store, "own": own, "trust": trust}
    live = live_metrics(name, versions, scores, **settings)
    return table.merge(live, "left", left_on="version", right_index=True)


def _describe(
    client: "MlflowClient", number: int, version: Any, aliases: dict[str, str]
) -> dict[str, Any]:
    data = client.get_run(version.run_id).data
    created = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    days = [data.params.get(f"data.{name}", "") for name in ("train", "valid")]
    return {
        "version": number,
        "alias": ", ".join(alias for alias, of in aliases.items() if str(of) == str(number)),
        "parent": version.tags.get(PARENT, ""),
        "train": days[0],
        "valid": days[1],
        **{metric: data.metrics.get(metric) for metric in METRICS},
        "created": f"{created:%Y-%m-%d %H:%M}",
    }


def promote(
    name: str,
    version: str,
    *,
    reason: str = "",
    force: bool = False,
    errors: float = ERRORS,
    tracking_uri: str | None = None,
    overrides: Sequence[str] = (),
    own: Sequence[Path] = (),
    trust: bool = False,
) -> Comparison | None:
    """Make a version the champion, unless it is worse than the champion.

    The two are compared by rank IC on up to `MOST` of the newest labelled days that neither has
    seen.

    Args:
        name: Name of the model.
        version: Number of the version.
        reason: Why, for the record.
        force: Skip the comparison.
        errors: Number of standard errors of the difference by which the version may be worse.
        tracking_uri: Address of the registry.
        overrides: Changes to the configs, such as ``data.path=FOLDER``.
        own: The user's config folders.
        trust: Also open versions whose config could run arbitrary code.

    Returns:
        The comparison; None if there is no champion yet, or with ``force``.

    Raises:
        InputError: The version does not exist, is worse, or there are fewer than `LEAST` days to
            compare on.
    """
    store, client = open_store(tracking_uri)
    with reported(store):
        chosen = find_version(client, f"models:/{name}/{version}")
        champion = list_aliases(client, name).get(CHAMPION)
    if champion is not None and str(champion) == str(chosen.version):
        raise InputError(f"{name}/{chosen.version} is the champion already")
    found = None
    if champion is not None and not force:
        uris = [f"models:/{name}@{CHAMPION}", f"models:/{name}/{chosen.version}"]
        found = _compare(uris, overrides=overrides, tracking_uri=store, own=own, trust=trust)
        if found.difference < -errors:
            raise InputError(
                f"{name}/{chosen.version} is worse than the champion, version {champion}: rank IC "
                f"{found.new:.4f} instead of {found.old:.4f} on {found.days} days from "
                f"{found.first} to {found.last}, {-found.difference:.1f} standard errors; at most "
                f"{errors:g} are allowed (errors=), force=true promotes it anyway"
            )
    said = reason or ("forced" if force else "")
    with reported(store):
        _move(client, name, str(chosen.version), champion, "promote", said)
    return found


def rollback(name: str, *, reason: str = "", tracking_uri: str | None = None) -> str:
    """Make the version before the last promotion the champion again, and return its number.

    Raises:
        InputError: No promotion is left to undo, or the earlier version was deleted.
    """
    store, client = open_store(tracking_uri)
    with reported(store):
        champion = list_aliases(client, name).get(CHAMPION)
        before = _before(_moves(client, name))
        if before is None:
            raise InputError(f"{name} has no earlier champion to go back to")
        version = find_version(client, f"models:/{name}/{before}")
        _move(client, name, str(version.version), champion, "rollback", reason)
    return str(version.version)


def _before(moves: list[dict[str, Any]]) -> str | None:
    """Return the champion before the last promotion that was not undone."""
    stack: list[str | None] = []
    for move in moves:
        if move["move"] == "promote":
            stack.append(move["from"])
        elif stack:
            stack.pop()
    return stack[-1] if stack else None


def _moves(client: "MlflowClient", name: str) -> list[dict[str, Any]]:
    text = client.get_registered_model(name).tags.get(MOVES, "[]")
    try:
        moves: list[dict[str, Any]] = TypeAdapter(list[dict[str, str | None]]).validate_json(text)
    except ValidationError as error:
        raise InputError(f"the tag {MOVES} of {name} is damaged: {text[:100]}") from error
    return moves


def _move(
    client: "MlflowClient", name: str, to: str, before: str | None, move: str, reason: str
) -> None:
    record = {
        "move": move,
        "from": None if before is None else str(before),
        "to": to,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "reason": reason,
    }
    client.set_registered_model_tag(name, MOVES, json.dumps([*_moves(client, name), record]))
    client.set_registered_model_alias(name, CHAMPION, to)


def _compare(uris: Sequence[str], **settings: Any) -> Comparison:
    """Compare the second version with the first; the settings are those of `fetch`."""
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / name for name in ("old", "new")]
        for place in places:
            place.mkdir()
        runs = [fetch(uri, place, **settings)[0] for uri, place in zip(uris, places, strict=True)]
        return compare_runs(runs[0], runs[1], **_new_days(runs))


def _new_days(runs: Sequence[Run]) -> dict[str, str]:
    """Return the first and last of the newest labelled days that no run has seen."""
    data: MarketDataModule = instantiate(runs[-1].config.datamodule)
    market = data.read_fingerprint().market
    seen = [last_day_seen(read_checkpoint(run.checkpoint)) for run in runs]
    if None in seen:
        raise InputError("a version does not record the days that it has seen; force=true skips it")
    latest = max(day for day in seen if day is not None)
    last = len(market.dates) - 1 - data.label.sell
    first = max(int(market.dates.searchsorted(pd.Timestamp(latest), "right")), last - MOST + 1)
    if last - first + 1 < LEAST:
        raise InputError(
            f"only {max(0, last - first + 1)} labelled days follow {latest}, the last day that a "
            f"version has seen: {LEAST} are needed to compare; force=true promotes without"
        )
    return {"first": f"{market.dates[first]:%Y-%m-%d}", "last": f"{market.dates[last]:%Y-%m-%d}"}
