"""Output of the commands: logging, printed metrics."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alphazoo.training.quiet import log_level


@contextmanager
def log_to_file(file: Path) -> Iterator[None]:
    """Print log messages and append them to a file, as Hydra does."""
    root, level = logging.getLogger(), logging.getLogger().level
    handlers: list[logging.Handler] = [
        logging.StreamHandler(sys.stdout),
        logging.FileHandler(file, encoding="utf-8"),
    ]
    detailed = "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"
    handlers[0].setLevel(log_level())
    for handler, line in zip(handlers, ("%(message)s", detailed), strict=True):
        handler.setFormatter(logging.Formatter(line))
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.setLevel(level)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


def print_evaluation(metrics: dict[str, float]) -> None:
    """Print the metrics that the published table has, as far as they are known."""
    from alphazoo.evaluation.compare import METRICS

    for title, name in METRICS.items():
        if name in metrics:
            print(f"{title:<14}{metrics[name]:9.4f}")
