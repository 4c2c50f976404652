"""An Optuna study: ask for the next trials, keep them alive, report their results."""

import math
import re
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import optuna
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from optuna.distributions import distribution_to_json
from optuna.trial import Trial, TrialState

from alphazoo.config import instantiate
from alphazoo.errors import InputError, PrunedError, check_choice, shorten
from alphazoo.runs.run import read_metrics
from alphazoo.sweep.jobs import is_done, read_job
from alphazoo.sweep.space import Space
from alphazoo.sweep.storage import find_trial, open_storage, quiet

POLL = 2.0  # seconds between two checks of the trials of other workers


def check_monitor(monitor: str) -> None:
    """Raise an `InputError` unless the metric of a search is a validation metric."""
    if not monitor.startswith("val/"):
        raise InputError(
            f"a search needs a validation metric such as val/ic, got monitor={monitor}: "
            "choosing settings by test metrics would bias them"
        )


class Study:
    """A study that several worker processes may share.

    Args:
        settings: Settings of the sweeper, see `hydra_plugins.alphazoo_sweepers.Search`.
        folder: Folder of the sweep.
        space: The search space.
        monitor: The validation metric by which trials are compared.
        mode: ``"max"`` if a higher metric is better, ``"min"`` if a lower one is.

    Raises:
        InputError: The name of the study cannot be part of a folder name, or the existing study of
            this name has another space.
    """

    def __init__(
        self, settings: DictConfig, folder: Path, space: Space, monitor: str, mode: str
    ) -> None:
        check_choice("mode", mode, ["max", "min"])
        if not re.fullmatch(r"[\w.-]+", settings.study):  # prefix of folder names
            raise InputError(
                "the name of a study may hold letters, digits and any of '_.-', got "
                f"{settings.study!r}"
            )
        self.space, self.monitor = space, monitor
        self.heartbeat = settings.heartbeat
        self.storage = open_storage(settings, folder)
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
            raise InputError(f"the study {self.optuna.study_name!r} was created by another program")
        other = sorted(k for k in known.keys() | about.keys() if known.get(k) != about.get(k))
        if other:
            shown = shorten(f"{k}: {_describe(known, k)}, now {_describe(about, k)}" for k in other)
            raise InputError(
                f"the study {self.optuna.study_name!r} belongs to another search ({shown}); choose "
                "another name with hydra.sweeper.study=NAME"
            )
        self.optuna.set_user_attr("about", about)

    def ask(self, count: int, n_trials: int) -> dict[int, list[str]]:
        """Return the overrides of the next trials by number; empty when the study is complete.

        Trials whose worker was killed are repeated. If only trials of other workers remain, wait
        for them to finish, because one of these workers may be killed.

        Args:
            count: Largest number of trials to return.
            n_trials: Number of trials of the study.
        """
        while True:
            with quiet():
                optuna.storages.fail_stale_trials(self.optuna)
            trials = self.optuna.get_trials(deepcopy=False)
            retried = {number for t in trials for number in t.system_attrs.get("retry_history", ())}
            waiting = sum(t.state == TrialState.WAITING for t in trials)
            left = n_trials - len(trials) + len(retried) + waiting
            if left > 0:
                return dict(self._next() for _ in range(min(count, left)))
            if not any(t.state == TrialState.RUNNING for t in trials):
                return {}
            time.sleep(POLL)

    def _next(self) -> tuple[int, list[str]]:
        with quiet():
            trial = self.optuna.ask(self.space)
        self.storage.record_heartbeat(find_trial(self.optuna, self.storage, trial.number))
        return trial.number, [f"{key}={value}" for key, value in trial.params.items()]

    @contextmanager
    def alive(self, numbers: Collection[int]) -> Iterator[None]:
        """Record heartbeats of trials while they run."""
        ended = threading.Event()
        ids = [find_trial(self.optuna, self.storage, number) for number in numbers]

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
        """Report the result of a trial to Optuna, from the folder of its job."""
        if read_job(folder).status == "pruned":
            self.optuna.tell(number, state=TrialState.PRUNED)
            return
        value = read_metrics(folder).get(self.monitor) if is_done(folder) else None
        if value is None:  # the job failed, or the metric is undefined
            self.optuna.tell(number, state=TrialState.FAIL)
        else:
            self.optuna.tell(number, value)

    def best(self) -> str:
        """Return a line that describes the best trial so far."""
        ended = self.optuna.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        if not ended:
            return "no trial has finished successfully"
        trial = self.optuna.best_trial
        settings = " ".join(f"{key}={value}" for key, value in trial.params.items())
        return (
            f"best of {len(ended)} trials: {self.monitor} {trial.value:.4f}, trial "
            f"{trial.number}: {settings}"
        )


def _describe(about: dict[str, Any], key: str) -> str:
    return str(about.get(key, "not searched"))


class Pruning(Callback):
    """Stops a trial that does worse than the other trials did after the same number of epochs.

    Args:
        settings: Settings of the sweeper, including the number of the ``trial``.
        folder: Folder of the sweep.
        monitor: The metric by which trials are compared.
    """

    def __init__(self, settings: DictConfig, folder: Path, monitor: str) -> None:
        self.monitor = monitor
        storage = open_storage(settings, folder)
        study = optuna.load_study(
            study_name=settings.study, storage=storage, pruner=instantiate(settings.pruner)
        )
        self.trial = Trial(study, find_trial(study, storage, settings.trial))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the metric of the epoch to Optuna.

        Raises:
            PrunedError: The trial does worse than others.
        """
        value = float(trainer.callback_metrics.get(self.monitor, math.nan))
        if trainer.state.fn != "fit" or math.isnan(value):
            return
        self.trial.report(value, step=trainer.current_epoch)
        if self.trial.should_prune():
            raise PrunedError(
                f"{self.monitor} {value:.4f} after {trainer.current_epoch + 1} epochs"
            )
