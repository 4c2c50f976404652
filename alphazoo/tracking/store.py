"""Where MLflow keeps runs and models: a SQLite file, or a server by its URL."""

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
LONGEST = 500  # letters of a message
AT_ONCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


def absolute(uri: str) -> str:
    """An address that is the same from any folder."""
    if not uri.startswith(SQLITE):
        return uri
    return SQLITE + str(Path(uri.removeprefix(SQLITE)).expanduser().resolve())


def connect(uri: str) -> "MlflowClient":
    """Open a store, or find out at once that it cannot be had.

    Args:
        uri: ``sqlite:///FILE`` with an absolute path, made where there is none, or a URL.

    Raises:
        InputError: The package is missing, or nothing answers.
    """
    need("mlflow", "mlflow")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    alone: Any = nullcontext()
    if uri.startswith(SQLITE):
        file = Path(uri.removeprefix(SQLITE))
        file.parent.mkdir(parents=True, exist_ok=True)
        alone = FileLock(f"{file}.lock")  # jobs of a sweep make its tables once
    with reported(uri), alone, _at_once():
        from mlflow.tracking import MlflowClient

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    return client


@contextmanager
def _at_once() -> Iterator[None]:
    """Ask a server once, where MLflow would go on asking for minutes."""
    new = {name: value for name, value in AT_ONCE.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]


@contextmanager
def reported(uri: str) -> Iterator[None]:
    """Say a fault of MLflow, or of the database below it, in one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # of the database below MLflow it may be anything
        raise InputError(f"MLflow at {hide_password(uri)}: {in_short(error)}") from error


def in_short(error: Exception) -> str:
    """The message of a fault, without the SQL that led to it."""
    text = " ".join(str(error).split()).partition("[SQL:")[0]
    return hide_password(text[:LONGEST])


def hide_password(text: str) -> str:
    """Leave out who logs in to an address."""
    return re.sub(r"(?<!/)//(?!/)[^/\s]*@", "//", text)
