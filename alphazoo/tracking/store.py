"""The store of MLflow's runs and models: a SQLite file, or a server given by its URL."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from alphazoo.errors import InputError
from alphazoo.tracking import need

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SQLITE = "sqlite:///"
LONGEST = 500  # characters of a message
AT_ONCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


def absolute(uri: str) -> str:
    """Return an address that does not depend on the working directory."""
    if not uri.startswith(SQLITE):
        return uri
    return SQLITE + str(Path(uri.removeprefix(SQLITE)).expanduser().resolve())


def connect(uri: str) -> "MlflowClient":
    """Open a store, or fail at once if it is not available.

    Args:
        uri: ``sqlite:///FILE`` with an absolute path, created if missing, or a URL.

    Raises:
        InputError: The package is missing, or the store does not respond.
    """
    need("mlflow", "mlflow")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    alone: Any = nullcontext()
    if uri.startswith(SQLITE):
        file = Path(uri.removeprefix(SQLITE))
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("ab"):  # MLflow would try for minutes
                pass
        except OSError as error:
            raise InputError(f"MLflow at {uri}: cannot write {file}: {error.strerror}") from error
        alone = FileLock(f"{file}.lock")  # only one job of a sweep creates the tables
    with reported(uri), alone, _at_once():
        from mlflow.tracking import MlflowClient

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    return client


@contextmanager
def _at_once() -> Iterator[None]:
    """Contact a server only once; by default, MLflow retries for minutes."""
    new = {name: value for name, value in AT_ONCE.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]


@contextmanager
def reported(uri: str) -> Iterator[None]:
    """Raise errors of MLflow, or of its database, as an `InputError` of one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # the database below MLflow may raise anything
        raise InputError(f"MLflow at {hide_password(uri)}: {in_short(error)}") from error


def in_short(error: Exception) -> str:
    """Return the message of an error without the SQL that caused it."""
    text = " ".join(str(error).split()).partition("[SQL:")[0]
    return hide_password(text[:LONGEST])


def hide_password(text: str) -> str:
    """Remove user name and password from an address."""
    return re.sub(r"(?<!/)//(?!/)[^/\s]*@", "//", text)
