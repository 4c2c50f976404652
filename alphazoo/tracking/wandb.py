"""Weights & Biases: offline, a folder in that of the run that ``wandb sync`` sends when told to."""

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
PATIENCE = 30  # seconds until a server that does not answer is given up


class WandB(Tracker):
    """A run of Weights & Biases.

    Args:
        folder: Of the run.
        project: That the run belongs to.
        run_name: What it is called there.
        mode: ``"offline"`` writes files alone; ``"online"`` sends them, too.

    Raises:
        InputError: There is no such mode, the package is missing, or nobody has logged in.
    """

    name = "wandb"
    version = None

    def __init__(self, *, folder: Path, project: str, run_name: str, mode: str) -> None:
        super().__init__(folder)
        check_choice("logger.wandb.mode", mode, MODES)
        need("wandb", "wandb")
        if mode == "offline":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # offline is without network
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
        """Of wandb: that of this folder, where it goes on."""
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
        """Keep settings and facts as its config."""
        self.run.config.update(dict(params), allow_val_change=True)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Keep figures of a step."""
        self.run.log({**finite(metrics), "step": step or 0})

    @rank_zero_only
    def log_files(self, files: Sequence[Path]) -> None:
        """Keep files, the page of the report as a panel, too."""
        import wandb

        for file in files:
            # in a folder of their own: wandb writes a config.yaml, too
            copy = Path(self.run.dir) / "run" / file.relative_to(self.folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            self.run.save(copy, base_path=self.run.dir, policy="now")
            if file.suffix == ".html":
                self.run.log({file.stem: wandb.Html(file.read_text(encoding="utf-8"))})

    @rank_zero_only
    def end(self, status: str) -> None:
        """Write what is left."""
        if self._run is not None:
            self._run.finish(exit_code=int(status != "finished"))
            self._run = None
