"""MLflow: runs with their settings, metrics and files, in a SQLite file or on a server."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from lightning.pytorch.utilities import rank_zero_only

from alphazoo.errors import InputError
from alphazoo.runs.run import Run
from alphazoo.tracking import Tracker, finite
from alphazoo.tracking.registry import NAME, register
from alphazoo.tracking.store import SQLITE, absolute, connect, hide_password, in_short, reported

log = logging.getLogger(__name__)

LONGEST = 500  # characters of a setting that servers of every version accept
BATCH = 100  # settings per request that they accept
STATUS = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}


class MLflow(Tracker):
    """A run in MLflow; settings changed by a resumed run become tags, because params are fixed.

    Args:
        folder: Folder of the run.
        tracking_uri: ``sqlite:///FILE`` or the URL of a server.
        experiment_name: Experiment that the run belongs to; created if missing.
        run_name: Name of the run in MLflow.
        model_name: Name under which the registry stores the model as a new version; None does not
            register it.

    Raises:
        InputError: The package is missing, nothing responds at the address, or the model name is
            invalid.
    """

    name = "mlflow"
    version = None

    def __init__(
        self,
        *,
        folder: Path,
        tracking_uri: Annotated[str, "sqlite:///FILE or a URL"],
        experiment_name: str,
        run_name: str,
        model_name: str | None,
    ) -> None:
        super().__init__(folder)
        if not tracking_uri:
            raise InputError(
                f"expected logger.mlflow.tracking_uri=sqlite:///FILE or a URL, got {tracking_uri!r}"
            )
        if model_name is not None and not NAME.fullmatch(str(model_name)):
            raise InputError(
                "logger.mlflow.model_name must be a name without / : @ and quotes, "
                f"got {model_name!r}"
            )
        self.asked, self.experiment_name = tracking_uri, experiment_name
        self.run_name, self.model_name = run_name, model_name and str(model_name)
        self._run_id: str | None = None
        self._lost = False
        self._connect()

    @rank_zero_only
    def _connect(self) -> None:
        known = self.load_state()
        went_on = self.asked.startswith(SQLITE) and known.get("asked") == self.asked
        self.store = known["store"] if went_on else absolute(self.asked)
        self.shown = hide_password(self.store)
        self.client = connect(self.store)
        with reported(self.store):
            self.experiment_id = self._find_experiment()

    def _find_experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(self.experiment_name)
        if found is None:
            beside = Path(self.store.removeprefix(SQLITE)).with_suffix("")
            place = str(beside) if self.store.startswith(SQLITE) else None
            try:
                return str(self.client.create_experiment(self.experiment_name, place))
            except MlflowException:  # another process may have created it in the meantime
                found = self.client.get_experiment_by_name(self.experiment_name)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            raise InputError(
                f"the experiment {self.experiment_name!r} of {self.shown} is deleted: restore it, "
                "or choose another with logger.mlflow.experiment_name"
            )
        return str(found.experiment_id)

    @property
    def run_id(self) -> str:
        """MLflow's id of the run; a resumed run keeps the id that its folder stores."""
        if self._run_id is None:
            from mlflow.exceptions import MlflowException

            known = self.load_state()
            if known.get("store") == self.shown:
                try:
                    self.client.update_run(known["run"], status="RUNNING")
                    self._run_id = known["run"]
                except MlflowException:
                    log.info("%s has no run %s: starting a new one", self.shown, known["run"])
        if self._run_id is None:
            run = self.client.create_run(self.experiment_id, run_name=self.run_name)
            self._run_id = str(run.info.run_id)
            self.save_state(asked=hide_password(self.asked), store=self.shown, run=self._run_id)
        return self._run_id

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any], *_: Any) -> None:  # type: ignore[override]
        """Log settings and provenance."""
        from mlflow.entities import Param, RunTag

        told = {name: str(value)[:LONGEST] for name, value in params.items()}
        with reported(self.store):
            known = self.client.get_run(self.run_id).data
            new = [Param(name, value) for name, value in told.items() if name not in known.params]
            changed = [
                RunTag(name, value)
                for name, value in told.items()
                if known.params.get(name, value) != value or name in known.tags
            ]
            for start in range(0, max(len(new), len(changed)), BATCH):
                part = slice(start, start + BATCH)
                self.client.log_batch(self.run_id, params=new[part], tags=changed[part])

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log the metrics of a step; losing the connection does not stop the training run."""
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        if self._lost:
            return
        now = int(1000 * time.time())
        batch = [Metric(name, value, now, step or 0) for name, value in finite(metrics).items()]
        try:
            self.client.log_batch(self.run_id, metrics=batch)
        except MlflowException as error:
            self._lost = True
            log.warning("from now on, metrics are only in logs/metrics.csv: %s", in_short(error))

    @rank_zero_only
    def log_files(self, files: Sequence[Path]) -> None:
        """Store files and register the model."""
        with reported(self.store):
            for file in files:
                place = file.parent.relative_to(self.folder).as_posix()
                self.client.log_artifact(self.run_id, str(file), place if place != "." else None)
            if self.model_name:
                run = Run.open(self.folder, trust=True).last_window  # this process wrote it
                version = register(self.client, self.run_id, self.model_name, run)
                log.info("registered: models:/%s/%s in %s", self.model_name, version, self.shown)

    @rank_zero_only
    def end(self, status: str) -> None:
        """Set the final status of the run, if it was created."""
        from mlflow.exceptions import MlflowException

        if self._run_id is not None:
            try:
                self.client.set_terminated(self._run_id, STATUS[status])
            except MlflowException as error:
                log.warning("MLflow did not record that the run is %s: %s", status, in_short(error))
