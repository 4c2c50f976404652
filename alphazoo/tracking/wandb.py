"""Weights & Biases; offline data stay in the run folder until ``wandb sync`` uploads them."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.utilities import rank_zero_only

from alphazoo.errors import InputError, check_choice
from alphazoo.tracking import Tracker, finite, need

if TYPE_CHECKING:
    from wandb import Run

MODES = ("offline", "online")
PATIENCE = 30  # seconds to wait for a server that does not respond


class WandB(Tracker):
    """A run in Weights & Biases.

    Args:
        folder: Folder of the run.
        project: Project that the run belongs to.
        run_name: Name of the run in Weights & Biases.
        mode: ``"offline"`` only writes files; ``"online"`` also uploads them.

    Raises:
        InputError: The mode is unknown, the package is missing, or no user has logged in.
    """

    name = "wandb"
    version = None

    def __init__(self, *, folder: Path, project: str, run_name: str, mode: str) -> None:
        super().__init__(folder)
        check_choice("logger.wandb.mode", mode, MODES)
        need("wandb", "wandb")
        if mode == "offline":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # offline uses no network
        self.project, self.run_name, self.mode = project, run_name, mode
        self._run: Run | None = None
        if mode == "online":
            self._check_login()

    @rank_zero_only
    def _check_login(self) -> None:
        import wandb

        try:
            wandb.login()
        except wandb.Error as error:
            raise InputError(
                "logger.wandb.mode=online needs an account: run wandb login once"
            ) from error

    @property
    def run(self) -> "Run":
        """The run of wandb; a resumed run continues the one that its folder stores."""
        if self._run is None:
            import wandb

            known = self.recall()
            settings = wandb.Settings(silent=True, console="off", init_timeout=PATIENCE)
            try:
                self._run = wandb.init(
                    project=self.project,
                    name=self.run_name,
                    dir=self.folder,
                    mode=self.mode,  # type: ignore[arg-type]
                    id=known.get("run"),
                    resume="allow" if self.mode == "online" else None,
                    settings=settings,
                )
            except wandb.Error as error:
                raise InputError(f"wandb: {' '.join(str(error).split())}") from error
            self._run.define_metric("*", step_metric="step")
            self.remember(run=self._run.id)
        return self._run

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any], *_: Any) -> None:  # type: ignore[override]
        """Store settings and provenance as the config of the wandb run."""
        self.run.config.update(dict(params), allow_val_change=True)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log the metrics of a step."""
        self.run.log({**finite(metrics), "step": step or 0})

    @rank_zero_only
    def log_files(self, files: Sequence[Path]) -> None:
        """Store files, and show the report as a panel."""
        import wandb

        for file in files:
            # in a separate folder, because wandb writes its own config.yaml
            copy = Path(self.run.dir) / "run" / file.relative_to(self.folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            self.run.save(copy, base_path=self.run.dir, policy="now")
            if file.suffix == ".html":
                self.run.log({file.stem: wandb.Html(file.read_text(encoding="utf-8"))})

    @rank_zero_only
    def end(self, status: str) -> None:
        """Write remaining data and finish the wandb run."""
        if self._run is not None:
            self._run.finish(exit_code=int(status != "finished"))
            self._run = None
