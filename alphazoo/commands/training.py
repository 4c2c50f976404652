"""alphazoo train and benchmark: one run, or many."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alphazoo.commands.arguments import (
    flags_as_keys,
    flags_first,
    split_arguments,
    take_config_dir,
    truth,
)
from alphazoo.commands.catalog import expected
from alphazoo.commands.importing import importing
from alphazoo.commands.output import log_to_file
from alphazoo.errors import InputError, quoted
from alphazoo.training.quiet import silence_libraries

FULL_ERROR = "HYDRA_FULL_ERROR"


def train(arguments: list[str]) -> None:
    """Train a model, or several with ``-m``; ``run=FOLDER`` resumes a training run."""
    own, rest = split_arguments(arguments, "train")
    if "run" in own:
        _resume(own["run"], rest, trust=truth(own, "trust"))
        return
    import hydra

    from alphazoo.commands.refusal import RefusedError
    from alphazoo.config import VERSION_BASE, config_dir

    command_line, full_error = sys.argv, os.environ.get(FULL_ERROR)
    errors: list[Exception] = []

    def job(config: Any) -> None:
        from alphazoo.sweep.jobs import run_in_sweep

        sys.argv = command_line  # Lightning starts its other processes with these arguments
        with _environment(FULL_ERROR, full_error):
            try:
                run_in_sweep(config, _train)
            except Exception as error:  # raised below, so that Hydra does not print it as well
                errors.append(error)

    _check_folder(arguments)
    rest, folders = take_config_dir(arguments)
    own_yaml = [f"--config-dir={folder}" for folder in folders]
    # a sweep sets hydra.mode, which Hydra ignores if another setting is wrong
    many = ["--multirun"] * any(_is_sweep(argument) for argument in rest)
    sys.argv = ["alphazoo train", *many, *own_yaml, *flags_first(rest)]
    start = hydra.main(
        version_base=VERSION_BASE, config_path=str(config_dir()), config_name="train"
    )
    try:
        with _environment(FULL_ERROR, "1"):  # else Hydra prints errors itself and exits
            start(job)()
    except RefusedError as refusal:
        errors.append(refusal.error)
    for error in errors:
        raise error


@contextmanager
def _environment(name: str, value: str | None) -> Iterator[None]:
    """Set an environment variable, or unset it, within a context."""
    before = os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


def _is_sweep(argument: str) -> bool:
    return argument.startswith("sweep=") and argument != "sweep=grid"


def _check_folder(arguments: list[str]) -> None:
    """Require a folder if torchrun or srun starts several processes, which need the same one."""
    count = max(int(os.environ.get(name) or 1) for name in ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS"))
    if count > 1 and not any(argument.startswith("hydra.run.dir=") for argument in arguments):
        raise InputError(f"{count} processes train one model: set hydra.run.dir=FOLDER for all")


def _train(config: Any) -> None:
    with importing():
        from hydra.core.hydra_config import HydraConfig
        from lightning.pytorch.utilities import rank_zero_only

        from alphazoo.commands.job import print_metrics, train

    logging.getLogger("lightning").handlers.clear()  # the root logger prints already
    if getattr(rank_zero_only, "rank", 0):
        logging.getLogger("alphazoo").setLevel(logging.WARNING)  # rank zero logs the rest
    silence_libraries()
    callbacks = []
    settings = HydraConfig.get().sweeper if HydraConfig.initialized() else None
    if settings and settings.get("trial") is not None:
        from alphazoo.sweep.study import Pruning

        callbacks.append(Pruning(settings, Path(HydraConfig.get().sweep.dir), config.monitor))
    print_metrics(train(config, callbacks), config.folder)


def _resume(folder: str, arguments: list[str], *, trust: bool) -> None:
    """Resume the training run in a folder, without Hydra, since its config is already composed."""
    with importing():
        from alphazoo.runs.run import Run
        from alphazoo.runs.settings import check_settings

    overrides, own = take_config_dir(arguments)
    run = Run.open(folder, overrides, own=own, trust=trust)
    check_settings(run.config)
    if run.config.get("ckpt") is None or (run.folder / "checkpoints" / "last.ckpt").is_file():
        run.config.ckpt = "last"
    with log_to_file(run.folder / "train.log"):
        _train(run.config)


def benchmark(arguments: list[str]) -> None:
    """Train models on feature sets and seeds with published settings, and write their table."""
    own, rest = split_arguments(flags_as_keys(arguments, "budget", "out"), "benchmark")
    if any(argument.startswith(("run=", "sweep=")) for argument in rest):
        raise InputError(expected("benchmark"))
    told = [f"hydra.sweeper.budget={own['budget']}"] if "budget" in own else []
    told += [f"hydra.sweep.dir={quoted(own['out'])}"] if "out" in own else []
    train(["sweep=benchmark", *map(for_sweeper, rest), *told])


def for_sweeper(argument: str) -> str:
    """Pass on a feature set, which names experiments and need not be a config of its own."""
    key, _, value = argument.partition("=")
    return f"hydra.sweeper.params.features={quoted(value)}" if key == "features" else argument
