"""What a command says, and what it does not."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SILENCED = (
    ".*LeafSpec.*",  # Lightning about its own use of torch
    ".*does not have many workers.*",  # a day is gathered faster than a worker could send it
    ".*callbacks used to create the checkpoint.*",  # scoring needs none of them
    ".*Experiment logs directory .* is not empty.*",  # beside the table are events of TensorBoard
    ".*Checkpoint directory .* is not empty.*",  # where a training goes on
    ".*DistributedSampler.*",  # a repeated day counts once, see alphazoo.metrics.ScoreTable
)


def be_quiet() -> None:
    """Leave out what Lightning says of itself."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in SILENCED:
        warnings.filterwarnings("ignore", message=message)


@contextmanager
def logged(file: Path) -> Iterator[None]:
    """Print what is said, and append it to a file, as Hydra does."""
    root, level = logging.getLogger(), logging.getLogger().level
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout), logging.FileHandler(file)]
    stamp = "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"
    for handler, form in zip(handlers, ("%(message)s", stamp), strict=True):
        handler.setFormatter(logging.Formatter(form))
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.setLevel(level)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


def print_evaluation(figures: dict[str, float]) -> None:
    """Print the figures of the published table, as far as they are known."""
    from alphazoo.compare import FIGURES

    for title, name in FIGURES.items():
        if name in figures:
            print(f"{title:<14}{figures[name]:9.4f}")
