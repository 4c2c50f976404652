"""The database of a search, which its workers share."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from omegaconf import DictConfig
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from alphazoo.errors import InputError

optuna.logging.set_verbosity(optuna.logging.WARNING)
optuna.logging.enable_propagation()
optuna.logging.disable_default_handler()


def open_storage(settings: DictConfig, folder: Path) -> RDBStorage:
    """Connect to the database of a study; create its tables if they do not exist.

    Args:
        settings: ``storage``, ``heartbeat`` and ``retries`` of the sweeper.
        folder: Of the sweep; without a storage the database is a file there.
    """
    url = make_url(settings.storage or f"sqlite:///{folder}/study.db")
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    sqlite = url.drivername.startswith("sqlite")
    timeout = {"timeout": 60} if sqlite else {"connect_timeout": 10}
    with quiet():
        return RDBStorage(
            url.render_as_string(hide_password=False),
            engine_kwargs={"connect_args": timeout, "pool_pre_ping": not sqlite},
            heartbeat_interval=settings.heartbeat,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(settings.retries),
        )


@contextmanager
def storage_errors(url: str | None) -> Iterator[None]:
    """Turn errors of the storage into an `InputError` that does not show the password.

    Raises:
        InputError: The storage cannot be reached or used.
    """
    try:
        yield
    except (SQLAlchemyError, ImportError, optuna.exceptions.StorageInternalError) as error:
        try:
            shown = make_url(url or "study.db").render_as_string()
        except SQLAlchemyError:
            shown = "hydra.sweeper.storage"
        reason = str(getattr(error, "orig", None) or error.__cause__ or error).strip()
        raise InputError(f"cannot use the storage {shown}: {reason.splitlines()[0]}") from error


def find_trial(study: optuna.Study, storage: RDBStorage, number: int) -> int:
    """Return the storage's own identifier of a trial."""
    study_id = storage.get_study_id_from_name(study.study_name)
    return storage.get_trial_id_from_study_id_trial_number(study_id, number)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings about heartbeats: experimental, and not sent without ``Study.optimize``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", message="Heartbeat of storage")
        yield
