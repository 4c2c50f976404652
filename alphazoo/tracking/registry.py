"""MLflow's model registry: a run becomes a version of a model, and any version can predict.

A version consists of the config, provenance and best checkpoint of a run: text, and tensors that
are loaded without executing code. No other file of a version is read, and its config is not
trusted, see `alphazoo.runs.trust`.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alphazoo.config import compose
from alphazoo.data.lineage import last_day_seen
from alphazoo.errors import InputError, did_you_mean, shorten
from alphazoo.models.checkpoint import read_checkpoint, stated_digest
from alphazoo.runs.run import Run
from alphazoo.tracking.store import SQLITE, absolute, connect, reported

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

PARTS = ("config.yaml", "provenance.json", "checkpoints/best.ckpt")
MARK = "alphazoo"  # tag of a version that holds the version of this package
PARENT = "alphazoo.parent"  # tag that holds the folder of the run that an update started from
CHECKPOINT = "alphazoo.checkpoint"  # tag that holds the digest of the checkpoint
SEEN = "alphazoo.seen"  # tag that holds the last day that the model has seen, YYYY-MM-DD
LATEST = "latest"
NAME = re.compile(r"[^/@:'\"]+")  # usable in `URI` and in a query for versions
URI = re.compile(rf"models:/(?P<name>{NAME.pattern})(/(?P<version>[^/@]+)|@(?P<alias>[^/@]+))")


def register(client: "MlflowClient", run_id: str, name: str, run: Run) -> str:
    """Register a run as the next version of a model; a run that is registered keeps its version.

    Args:
        client: Client of the store.
        run_id: Id of the run in the store, which keeps the files.
        name: Name of the model; created if missing.
        run: A run with a checkpoint.

    Returns:
        The version.
    """
    from mlflow.exceptions import MlflowException

    content = run.checkpoint.read_bytes() + (run.folder / "config.yaml").read_bytes()
    place = f"model/{hashlib.blake2b(content, digest_size=8).hexdigest()}"
    source = f"{client.get_run(run_id).info.artifact_uri}/{place}"
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    for known in list_versions(client, name).values():
        if known.source == source:
            return str(known.version)
    for part in PARTS:
        file = run.folder / part
        if file.is_file():
            client.log_artifact(run_id, str(file), (Path(place) / part).parent.as_posix())
    checkpoint = read_checkpoint(run.checkpoint)
    tags = {
        MARK: run.provenance.get("packages", {}).get("alphazoo", ""),
        CHECKPOINT: stated_digest(checkpoint),
        SEEN: last_day_seen(checkpoint) or "",
    }
    if "child_of" in run.config:
        tags[PARENT] = str(run.config.child_of.run)
    return str(client.create_model_version(name, source, run_id, tags=tags).version)


def open_store(tracking_uri: str | None = None) -> "tuple[str, MlflowClient]":
    """Return the address of an existing store, and a client of it.

    Args:
        tracking_uri: The address; None uses that of ``logger=mlflow``.

    Raises:
        InputError: There is no such store, or it does not respond.
    """
    store = absolute(tracking_uri or compose("logger=mlflow").logger.mlflow.tracking_uri)
    file = Path(store.removeprefix(SQLITE))
    if store.startswith(SQLITE) and not file.is_file():
        raise InputError(
            f"no file {file}: tracking_uri=sqlite:///FILE or tracking_uri=URL sets the MLflow store"
        )
    return store, connect(store)


def fetch(
    uri: str,
    folder: Path,
    overrides: Sequence[str] = (),
    *,
    tracking_uri: str | None = None,
    own: Sequence[Path] = (),
    trust: bool = False,
) -> tuple[Run, str]:
    """Download a version of a model as a run without scores, which predicts like any other run.

    Args:
        uri: ``models:/NAME/3``, ``models:/NAME@ALIAS``, ``models:/NAME/latest`` or
            ``models:/NAME/STAGE``, the newest version of a stage.
        folder: Empty folder to download to.
        overrides: Changes to the config, as on the command line.
        tracking_uri: Address of the store; None uses that of ``logger=mlflow``.
        own: The user's config folders, in addition to that of this package.
        trust: Also open a version whose config could run arbitrary code.

    Returns:
        The run, and ``NAME/VERSION``.

    Raises:
        InputError: There is no such version, this package did not write it, or its config is not
            trusted, see `alphazoo.runs.trust.check_trusted`.
    """
    store, client = open_store(tracking_uri)
    with reported(store):
        version = _download(client, store, uri, folder)
    run = Run.open(folder, overrides, own=own, trust=trust, source=uri)
    if "ensemble" in run.config:
        raise InputError(f"{uri} is an ensemble, which refers to other folders: refused")
    run.config.pop("logger", None)
    return run, version


def _download(client: "MlflowClient", store: str, uri: str, folder: Path) -> str:
    from mlflow.artifacts import download_artifacts, list_artifacts

    chosen = find_version(client, uri)
    if MARK not in chosen.tags:
        raise InputError(f"{uri} is version {chosen.version} and was not written by alphazoo")
    source = client.get_model_version_download_uri(chosen.name, chosen.version)
    listed = list_artifacts(artifact_uri=source, tracking_uri=store)
    found = {Path(file.path).name for file in listed}
    if "config.yaml" not in found:
        raise InputError(f"{uri} is version {chosen.version}, whose files lack config.yaml")
    for part in PARTS:
        if Path(part).parts[0] in found:
            place = str((folder / part).parent)
            download_artifacts(f"{source}/{part}", dst_path=place, tracking_uri=store)
    return f"{chosen.name}/{chosen.version}"


def find_version(client: "MlflowClient", uri: str) -> "ModelVersion":
    """Find the version that a URI refers to, see `fetch`."""
    parts = URI.fullmatch(uri)
    if not parts:
        raise InputError(
            f"expected model_uri=models:/NAME/VERSION or models:/NAME@ALIAS, got {uri}"
        )
    name, wanted, alias = parts["name"], parts["version"], parts["alias"]
    aliases = list_aliases(client, name)
    versions = list_versions(client, name)
    if alias:
        if alias not in aliases:
            raise InputError(f"{name} has no alias {alias!r}; {did_you_mean(alias, aliases)}")
        wanted = str(aliases[alias])
    if wanted.isdigit() and int(wanted) in versions:
        return versions[int(wanted)]
    staged = [
        number
        for number, version in versions.items()
        if wanted.lower() in (LATEST, str(version.current_stage).lower())
    ]
    if not staged:
        raise InputError(
            f"{name} has no version {wanted}; available: {shorten(versions) or 'none'}"
        )
    return versions[max(staged)]


def list_aliases(client: "MlflowClient", name: str) -> dict[str, str]:
    """Return the versions of a model by alias.

    Raises:
        InputError: There is no such model.
    """
    from mlflow.exceptions import MlflowException

    try:
        return dict(client.get_registered_model(name).aliases)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        names = [model.name for model in client.search_registered_models()]
        hint = did_you_mean(name, names)
        raise InputError(f"no model {name!r} in the registry; {hint}") from error


def list_versions(client: "MlflowClient", name: str) -> "dict[int, ModelVersion]":
    """Return the versions of a model by number."""
    found = client.search_model_versions(f"name = '{name}'")
    return dict(sorted((int(version.version), version) for version in found))
