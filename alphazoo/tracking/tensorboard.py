"""TensorBoard: curves, settings with their metrics, and the metrics of the report as images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from alphazoo.runs.run import read_metrics
from alphazoo.tracking import Tracker, last_step, need


class TensorBoard(Tracker, TensorBoardLogger):
    """Lightning's TensorBoard logger, which writes to ``logs`` in the folder of a run."""

    def __init__(self, folder: Path) -> None:
        need("tensorboard", "tensorboard")
        TensorBoardLogger.__init__(self, save_dir=folder, name="logs", version="")
        self.folder = folder
        self.settings: dict[str, Any] = {}

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any], *_: Any) -> None:  # type: ignore[override]
        """Log settings and provenance as text; `log_files` adds them as a table with metrics."""
        self.settings = {
            name: value if isinstance(value, int | float | str | bool) else str(value)
            for name, value in params.items()
        }
        lines = [f"| {name} | {value} |" for name, value in self.settings.items()]
        self.experiment.add_text("run", "\n".join(["| setting | value |", "|---|---|", *lines]))

    @rank_zero_only
    def log_files(self, files: Sequence[Path]) -> None:
        """Log the metrics as images, and the settings together with the resulting metrics."""
        from matplotlib.image import imread
        from torch.utils.tensorboard.summary import hparams

        step = last_step(self.folder)
        for file in files:
            if file.suffix == ".png":
                picture = imread(file)[..., :3]
                self.experiment.add_image(file.stem, picture, step, dataformats="HWC")
        metrics = read_metrics(self.folder)
        writer = self.experiment._get_file_writer()
        for summary in hparams(self.settings, dict.fromkeys(metrics, 0.0)):
            writer.add_summary(summary)

    @rank_zero_only
    def end(self, status: str) -> None:
        """Write remaining data and close the writer."""
        self.experiment.close()
