"""alphazoo train and benchmark: one run, or many."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alphazoo.commands.arguments import flags_as_keys, own_folder, split
from alphazoo.commands.output import be_quiet, logged
from alphazoo.errors import InputError

FULL_ERROR = "HYDRA_FULL_ERROR"


def train(arguments: list[str]) -> None:
    """Train a model, or several with ``-m``; go on with a training that was stopped."""
    own, rest = split(arguments, "run")
    if "run" in own:
        _resume(own["run"], rest)
        return
    import hydra

    from alphazoo.commands.refusal import RefusedError
    from alphazoo.config import VERSION_BASE, config_dir

    command_line, told = sys.argv, os.environ.get(FULL_ERROR)
    faults: list[Exception] = []

    def job(config: Any) -> None:
        from alphazoo.sweep.jobs import run_in_sweep

        sys.argv = command_line  # Lightning starts further processes with it, and what follows
        with _environment(FULL_ERROR, told):
            try:
                run_in_sweep(config, _train)
            except Exception as error:  # Hydra would have a word on it, too
                faults.append(error)

    own_folder(arguments)
    _check_folder(arguments)
    sys.argv = ["alphazoo train", *arguments]
    start = hydra.main(
        version_base=VERSION_BASE, config_path=str(config_dir()), config_name="train"
    )
    try:
        with _environment(FULL_ERROR, "1"):  # else Hydra prints a traceback itself and exits
            start(job)()
    except RefusedError as refusal:
        faults.append(refusal.error)
    for fault in faults:
        raise fault


@contextmanager
def _environment(name: str, value: str | None) -> Iterator[None]:
    """Set a variable, or unset it, for a while."""
    before = os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


def _check_folder(arguments: list[str]) -> None:
    """Processes that torchrun or srun has started cannot agree on a folder of now."""
    count = max(int(os.environ.get(name) or 1) for name in ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS"))
    if count > 1 and not any(argument.startswith("hydra.run.dir=") for argument in arguments):
        raise InputError(f"{count} processes train one model: give hydra.run.dir=FOLDER for all")


def _train(config: Any) -> None:
    from hydra.core.hydra_config import HydraConfig
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch.utilities import rank_zero_only

    from alphazoo.train import print_figures, train

    logging.getLogger("lightning").handlers.clear()  # the root logger prints already
    if getattr(rank_zero_only, "rank", 0):
        logging.getLogger("alphazoo").setLevel(logging.WARNING)  # the first process says it
    be_quiet()
    callbacks = []
    settings = HydraConfig.get().sweeper if HydraConfig.initialized() else None
    if settings and settings.get("trial") is not None:
        from alphazoo.sweep.study import Pruning

        callbacks.append(Pruning(settings, Path(HydraConfig.get().sweep.dir), config.monitor))
    try:
        print_figures(train(config, callbacks), config.folder)
    except MisconfigurationException as error:  # Lightning's word for an unusable setting
        raise InputError(" ".join(str(error).split())) from error


def _resume(folder: str, arguments: list[str]) -> None:
    """Train on in the folder of a run, without Hydra, whose part of the config is settled."""
    from alphazoo.runs import Run
    from alphazoo.settings import check_settings

    run = Run.open(folder, own_folder(arguments)[0])
    check_settings(run.config)
    if run.config.get("ckpt") is None or (run.folder / "checkpoints" / "last.ckpt").is_file():
        run.config.ckpt = "last"
    with logged(run.folder / "train.log"):
        _train(run.config)


def benchmark(arguments: list[str]) -> None:
    """Train models on feature sets with seeds, as published, and write the table of them."""
    own, rest = split(flags_as_keys(arguments, "budget", "out"), "budget", "out", "run")
    if "run" in own or any(argument.startswith("sweep=") for argument in rest):
        raise InputError(
            "expected: alphazoo benchmark [model=...] [features=...] [seed=...] [budget=0.05] "
            "[out=FOLDER] [data=...]"
        )
    told = {"budget": "hydra.sweeper.budget", "out": "hydra.sweep.dir"}
    train(["sweep=benchmark", *rest, *(f"{told[key]}={value}" for key, value in own.items())])
