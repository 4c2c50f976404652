"""A study of Optuna: which trial comes next, whether it is alive, how it ended."""

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
from alphazoo.runs import read_metrics
from alphazoo.sweep.jobs import is_done, read_job
from alphazoo.sweep.space import Space
from alphazoo.sweep.storage import find_trial, open_storage, quiet

POLL = 2.0  # seconds between two looks at trials of other workers


def check_monitor(monitor: str) -> None:
    """Raise an `InputError` unless a search may choose by a figure."""
    if not monitor.startswith("val/"):
        raise InputError(
            f"a search chooses by a figure of the valid days such as val/ic, not by {monitor}: "
            "the test days would be learnt from"
        )


class Study:
    """A study that several workers share.

    Args:
        settings: Of the sweeper, see `hydra_plugins.alphazoo_sweepers.Search`.
        folder: Of the sweep.
        space: What is searched.
        monitor: The figure that trials are compared by.
        mode: ``"max"`` or ``"min"``: whether more of it is better.

    Raises:
        InputError: The name cannot be that of a folder, or the study searches another space.
    """

    def __init__(
        self, settings: DictConfig, folder: Path, space: Space, monitor: str, mode: str
    ) -> None:
        check_choice("mode", mode, ["max", "min"])
        if not re.fullmatch(r"[\w.-]+", settings.study):  # it begins the names of folders
            raise InputError(f"a study is named by letters and digits, got {settings.study!r}")
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
            with quiet():
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
        with quiet():
            trial = self.optuna.ask(self.space)
        self.storage.record_heartbeat(find_trial(self.optuna, self.storage, trial.number))
        return trial.number, [f"{key}={value}" for key, value in trial.params.items()]

    @contextmanager
    def alive(self, numbers: Collection[int]) -> Iterator[None]:
        """Give signs of life of some trials."""
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
        """Take the result of a trial from the folder of its job."""
        if read_job(folder).status == "pruned":
            self.optuna.tell(number, state=TrialState.PRUNED)
            return
        figure = read_metrics(folder).get(self.monitor) if is_done(folder) else None
        if figure is None:  # so is one that is undefined
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


def _say(about: dict[str, Any], key: str) -> str:
    return str(about.get(key, "not searched"))


class Pruning(Callback):
    """Ends a trial that is worse than the others were after as many epochs.

    Args:
        settings: Of the sweeper, with the number of the ``trial``.
        folder: Of the sweep.
        monitor: The figure that trials are compared by.
    """

    def __init__(self, settings: DictConfig, folder: Path, monitor: str) -> None:
        self.monitor = monitor
        storage = open_storage(settings, folder)
        study = optuna.load_study(
            study_name=settings.study, storage=storage, pruner=instantiate(settings.pruner)
        )
        self.trial = Trial(study, find_trial(study, storage, settings.trial))

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
