"""Silences what Lightning says and a user need not act on, and with ``--quiet`` what we say."""

import logging
import os
import warnings

LEVEL = "ALPHAZOO_LOG_LEVEL"  # variable, which the processes that a command starts inherit
QUIET = "WARNING"  # its value with --quiet

SILENCED = (
    ".*LeafSpec.*",  # a deprecation inside Lightning
    ".*does not have many workers.*",  # workers would be slower than gathering a day in-process
    ".*callbacks used to create the checkpoint.*",  # scoring does not need them
    ".*Experiment logs directory .* is not empty.*",  # TensorBoard writes into the same folder
    ".*Checkpoint directory .* is not empty.*",  # normal for a resumed run
    ".*DistributedSampler.*",  # repeated days count once, see alphazoo.metrics.ScoreTable
    ".*is smaller than the logging interval.*",  # of a trainer that logs nothing by itself
)


def silence_libraries() -> None:
    """Silence Lightning's messages and warnings that need no action, in this process.

    The commands and `alphazoo.commands.job.train` do it by themselves. A notebook with a trainer of
    its own calls it once.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in SILENCED:
        warnings.filterwarnings("ignore", message=message)


def log_level() -> str:
    """Return the lowest level of messages to print: ``INFO``, or ``WARNING`` with ``--quiet``."""
    return os.environ.get(LEVEL, "INFO")
