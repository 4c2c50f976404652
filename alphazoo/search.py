"""A search by Optuna: the space in Hydra's words, the study in a database, pruning on the way."""

import json
import logging
import math
import threading
import time
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import optuna
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import Trial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from alphazoo.config import instantiate
from alphazoo.errors import InputError, check_choice, shorten
from alphazoo.sweep import PrunedError, read_job

log = logging.getLogger(__name__)
optuna.logging.set_verbosity(optuna.logging.WARNING)
optuna.logging.enable_propagation()
optuna.logging.disable_default_handler()

Space = dict[str, BaseDistribution]
POLL = 2.0  # seconds between two looks at trials of other workers


def parse_space(overrides: Sequence[Override]) -> Space:
    """Distributions of the keys that are searched.

    Args:
        overrides: ``model.lr=tag(log, interval(1e-4, 1e-2))``, ``int(interval(16, 64))`` (both ends
            included), ``range(1, 4)``, ``choice(32, 64)``, or ``32,64`` for short.

    Raises:
        InputError: There is none, or Optuna cannot draw from one.
    """
    if not overrides:
        raise InputError(
            "nothing to search: give hydra.sweeper.params, or on the command line "
            "'model.lr=interval(1e-4,1e-2)'"
        )
    space = {}
    for override in overrides:
        try:
            space[override.get_key_element()] = _distribution(override)
        except ValueError as error:
            raise InputError(f"cannot search {override.input_line}: {error}") from error
    return space


def _distribution(override: Override) -> BaseDistribution:
    sweep = override.value()
    tags: set[str] = getattr(sweep, "tags", set())
    for tag in tags:
        check_choice("tag", tag, ["log"])
    if isinstance(sweep, IntervalSweep):
        made = IntDistribution if isinstance(sweep.start, int) else FloatDistribution
        return made(sweep.start, sweep.end, log="log" in tags)  # type: ignore[arg-type]
    if tags:
        raise InputError("log is for intervals")
    if isinstance(sweep, RangeSweep):
        values = [*sweep.range()]
        if values and all(isinstance(value, int) for value in values):
            return IntDistribution(values[0], values[-1], step=int(sweep.step))
        if values:
            return FloatDistribution(float(values[0]), float(values[-1]), step=float(sweep.step))
    return CategoricalDistribution([*override.sweep_string_iterator()])


def corner(space: Space) -> list[str]:
    """Overrides of one point of a space, to see that a config takes them."""
    return [
        f"{key}={found.choices[0] if isinstance(found, CategoricalDistribution) else found.low}"  # type: ignore[attr-defined]
        for key, found in space.items()
    ]


def open_storage(settings: DictConfig) -> RDBStorage:
    """Connect to the database of a study; its tables are made where there are none.

    Args:
        settings: ``storage``, ``heartbeat`` and ``retries`` of the sweeper.
    """
    url = make_url(settings.storage)
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    sqlite = url.drivername.startswith("sqlite")
    patience = {"timeout": 60} if sqlite else {"connect_timeout": 10}
    with _quiet():
        return RDBStorage(
            url.render_as_string(hide_password=False),
            engine_kwargs={"connect_args": patience, "pool_pre_ping": not sqlite},
            heartbeat_interval=settings.heartbeat,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(settings.retries),
        )


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Say what is wrong with a storage, without its password.

    Raises:
        InputError: It cannot be reached or used.
    """
    try:
        yield
    except (SQLAlchemyError, ImportError, optuna.exceptions.StorageInternalError) as error:
        try:
            shown = make_url(url).render_as_string()
        except SQLAlchemyError:
            shown = "hydra.sweeper.storage"
        reason = str(getattr(error, "orig", None) or error.__cause__ or error).strip()
        raise InputError(f"cannot use the storage {shown}: {reason.splitlines()[0]}") from error


class Study:
    """A study that several workers share.

    Args:
        settings: Of the sweeper, see `hydra_plugins.alphazoo_sweepers.Search`.
        space: What is searched.
        monitor: The figure that trials are compared by.
        mode: ``"max"`` or ``"min"``: whether more of it is better.

    Raises:
        InputError: The figure is none of the valid days, or the study searches another space.
    """

    def __init__(self, settings: DictConfig, space: Space, monitor: str, mode: str) -> None:
        if not monitor.startswith("val/"):
            raise InputError(
                f"a search chooses by a figure of the valid days such as val/ic, not by {monitor}: "
                "the test days would be learnt from"
            )
        check_choice("mode", mode, ["max", "min"])
        self.space, self.monitor = space, monitor
        self.heartbeat = settings.heartbeat
        self.storage = open_storage(settings)
        self.optuna = optuna.create_study(
            study_name=settings.study,
            storage=self.storage,
            sampler=instantiate(settings.sampler),
            direction="maximize" if mode == "max" else "minimize",
            load_if_exists=True,
        )
        self._check_same(mode)

    def _check_same(self, mode: str) -> None:
        about = {key: distribution_to_json(found) for key, found in self.space.items()}
        about |= {"monitor": self.monitor, "mode": mode}
        known = self.optuna.user_attrs.get("about", None if self.optuna.get_trials() else about)
        if known is None:
            raise InputError(f"the study {self.optuna.study_name!r} was made by another program")
        other = sorted(k for k in known.keys() | about.keys() if known.get(k) != about.get(k))
        if other:
            told = shorten(f"{key}: {_say(known, key)}, now {_say(about, key)}" for key in other)
            raise InputError(
                f"the study {self.optuna.study_name!r} is of another search ({told}); name this "
                "one by hydra.sweeper.study=NAME"
            )
        self.optuna.set_user_attr("about", about)

    def ask(self, count: int, n_trials: int) -> dict[int, list[str]]:
        """Overrides of the next trials by their numbers; none when the study has ended.

        Trials whose worker was killed come again. Where all that is left runs in other workers,
        their end is waited for: one of them may be killed.

        Args:
            count: Of trials, at most.
            n_trials: Of the study.
        """
        while True:
            with _quiet():
                optuna.storages.fail_stale_trials(self.optuna)
            trials = self.optuna.get_trials(deepcopy=False)
            again = {number for t in trials for number in t.system_attrs.get("retry_history", ())}
            waiting = sum(t.state == TrialState.WAITING for t in trials)
            left = n_trials - len(trials) + len(again) + waiting
            if left > 0:
                return dict(self._next() for _ in range(min(count, left)))
            if not any(t.state == TrialState.RUNNING for t in trials):
                return {}
            time.sleep(POLL)

    def _next(self) -> tuple[int, list[str]]:
        with _quiet():
            trial = self.optuna.ask(self.space)
        self.storage.record_heartbeat(_trial_id(self.optuna, self.storage, trial.number))
        return trial.number, [f"{key}={value}" for key, value in trial.params.items()]

    @contextmanager
    def alive(self, numbers: Collection[int]) -> Iterator[None]:
        """Give signs of life of some trials."""
        ended = threading.Event()
        ids = [_trial_id(self.optuna, self.storage, number) for number in numbers]

        def beat() -> None:
            while not ended.wait(self.heartbeat):
                for trial_id in ids:
                    self.storage.record_heartbeat(trial_id)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def tell(self, number: int, folder: Path) -> None:
        """Take the result of a trial from the folder of its job."""
        job = read_job(folder)
        file = folder / "metrics.json"
        figure = json.loads(file.read_text()).get(self.monitor) if file.is_file() else None
        if job.status == "pruned":
            self.optuna.tell(number, state=TrialState.PRUNED)
        elif job.status != "done" or figure is None:  # an undefined figure is null
            self.optuna.tell(number, state=TrialState.FAIL)
        else:
            self.optuna.tell(number, figure)

    def best(self) -> str:
        """A line on the best trial so far."""
        ended = self.optuna.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        if not ended:
            return "no trial has ended well"
        trial = self.optuna.best_trial
        told = " ".join(f"{key}={value}" for key, value in trial.params.items())
        return (
            f"best of {len(ended)} trials: {self.monitor} {trial.value:.4f}, {trial.number}: {told}"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out that heartbeats are new, and are given by `optimize`: here `Study.alive` does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", message="Heartbeat of storage")
        yield


def _say(about: dict[str, Any], key: str) -> str:
    return str(about.get(key, "not searched"))


def _trial_id(study: optuna.Study, storage: RDBStorage, number: int) -> int:
    study_id = storage.get_study_id_from_name(study.study_name)
    return storage.get_trial_id_from_study_id_trial_number(study_id, number)


class Pruning(Callback):
    """Ends a trial that is worse than the others were after as many epochs.

    Args:
        settings: Of the sweeper, with the number of the ``trial``.
        monitor: The figure that trials are compared by.
    """

    def __init__(self, settings: DictConfig, monitor: str) -> None:
        self.monitor = monitor
        storage = open_storage(settings)
        study = optuna.load_study(
            study_name=settings.study, storage=storage, pruner=instantiate(settings.pruner)
        )
        self.trial = Trial(study, _trial_id(study, storage, settings.trial))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the figure of an epoch.

        Raises:
            PrunedError: It is too bad to go on.
        """
        value = float(trainer.callback_metrics.get(self.monitor, math.nan))
        if trainer.state.fn != "fit" or math.isnan(value):
            return
        self.trial.report(value, step=trainer.current_epoch)
        if self.trial.should_prune():
            raise PrunedError(
                f"{self.monitor} {value:.4f} after {trainer.current_epoch + 1} epochs"
            )
