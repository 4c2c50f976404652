"""What each command does with its arguments; heavy modules are imported when one is run."""

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from alphazoo.errors import InputError, shorten

FULL_ERROR = "HYDRA_FULL_ERROR"
SILENCED = (
    ".*LeafSpec.*",  # Lightning about its own use of torch
    ".*does not have many workers.*",  # a day is gathered faster than a worker could send it
    ".*callbacks used to create the checkpoint.*",  # scoring needs none of them
    ".*Experiment logs directory .* is not empty.*",  # beside the table are events of TensorBoard
    ".*Checkpoint directory .* is not empty.*",  # where a training goes on
    ".*DistributedSampler.*",  # a repeated day counts once, see alphazoo.metrics.ScoreTable
)


def train(arguments: list[str]) -> None:
    """Train a model, or several with ``-m``; go on with a training that was stopped."""
    own, rest = _split(arguments, "run")
    if "run" in own:
        _resume(own["run"], rest)
        return
    import hydra

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

    _own_folder(arguments)
    _check_folder(arguments)
    sys.argv = ["alphazoo train", *arguments]
    start = hydra.main(
        version_base=VERSION_BASE, config_path=str(config_dir()), config_name="train"
    )
    with _environment(FULL_ERROR, "1"):  # else Hydra prints a traceback itself and exits
        start(job)()
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
    _be_quiet()
    callbacks = []
    settings = HydraConfig.get().sweeper if HydraConfig.initialized() else None
    if settings and settings.get("trial") is not None:
        from alphazoo.sweep.study import Pruning

        callbacks.append(Pruning(settings, config.monitor))
    try:
        print_figures(train(config, callbacks), config.folder)
    except MisconfigurationException as error:  # Lightning's word for an unusable setting
        raise InputError(" ".join(str(error).split())) from error


def _resume(folder: str, arguments: list[str]) -> None:
    """Train on in the folder of a run, without Hydra, whose part of the config is settled."""
    from alphazoo.runs import Run

    run = Run.open(folder, _own_folder(arguments)[0])
    if run.config.get("ckpt") is None or (run.folder / "checkpoints" / "last.ckpt").is_file():
        run.config.ckpt = "last"
    with _logged(run.folder / "train.log"):
        _train(run.config)


@contextmanager
def _logged(file: Path) -> Iterator[None]:
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


def benchmark(arguments: list[str]) -> None:
    """Train models on feature sets with seeds, as published, and write the table of them."""
    own, rest = _split(_flags_as_keys(arguments, "budget", "out"), "budget", "out", "run")
    if "run" in own or any(argument.startswith("sweep=") for argument in rest):
        raise InputError(
            "expected: alphazoo benchmark [model=...] [features=...] [seed=...] [budget=0.05] "
            "[out=FOLDER] [data=...]"
        )
    told = {"budget": "hydra.sweeper.budget", "out": "hydra.sweep.dir"}
    train(["sweep=benchmark", *rest, *(f"{told[key]}={value}" for key, value in own.items())])


def _flags_as_keys(arguments: list[str], *names: str) -> list[str]:
    """``--name value`` and ``--name=value`` as ``name=value``."""
    found: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, _, value = argument.removeprefix("--").partition("=")
        if argument.startswith("--") and name in names:
            argument = f"{name}={value or next(rest, '')}"
        found.append(argument)
    return found


def evaluate(arguments: list[str]) -> None:
    """Evaluate a score file of any tool: analysis, backtest, report."""
    from alphazoo.evaluation import evaluate_file

    own, rest = _split(arguments, "scores", "out", "hydra.run.dir", "drop_unknown")
    if "scores" not in own:
        raise InputError("expected: alphazoo evaluate scores=FILE data=... [out=FOLDER]")
    folder = Path(own.get("out") or own.get("hydra.run.dir") or _new_folder())
    drop = own.get("drop_unknown", "false").lower() == "true"
    figures = evaluate_file(_config(rest), own["scores"], folder, drop_unknown=drop).figures
    _print_figures(figures)
    print(f"results: {folder}")


def compare(arguments: list[str]) -> None:
    """Put runs side by side."""
    from alphazoo.compare import find_runs, group_runs, write_comparison

    own, folders = _split(arguments, "out")
    folder, runs = Path(own.get("out") or _new_folder()), find_runs(folders)
    if not runs:
        raise InputError("expected: alphazoo compare RUN... [out=FOLDER]")
    print(write_comparison(folder, group_runs(runs)).to_string(index=False))
    print(f"results: {folder}")


def ensemble(arguments: list[str]) -> None:
    """Average the scores of runs, and evaluate them like those of a run."""
    from alphazoo.compare import find_runs
    from alphazoo.ensemble import write_ensemble

    own, folders = _split(arguments, "out", "by")
    folder = Path(own.get("out") or _new_folder())
    figures = write_ensemble(folder, find_runs(folders), by=own.get("by", "rank"))
    _print_figures(figures)
    print(f"results: {folder}")


def models(arguments: list[str]) -> None:
    """Print the zoo, or what there is to know about some models."""
    from alphazoo.models import describe_model, describe_zoo

    print(describe_zoo() if not arguments else "\n\n\n".join(map(describe_model, arguments)))


def import_qlib(arguments: list[str]) -> None:
    """Make a checkpoint of the weights of a network of Qlib, or a score table of its scores."""
    from alphazoo.config import compose, instantiate
    from alphazoo.qlib import convert_scores, import_weights

    files = [argument for argument in arguments if "=" not in argument]
    own, rest = _split([a for a in arguments if "=" in a], "out")
    models = [argument for argument in rest if argument.startswith("model=")]
    if len(files) != 1 or "out" not in own or not (models or own["out"].endswith(".parquet")):
        raise InputError(
            "expected: alphazoo import-qlib FILE model=NAME out=CHECKPOINT, or FILE out=x.parquet"
        )
    if not models:
        convert_scores(files[0], own["out"])
        print(f"{own['out']}: the scores of {files[0]}")
        return
    _be_quiet()
    model = instantiate(compose(*rest).model)
    import_weights(files[0], model, own["out"])
    count = sum(p.numel() for p in model.parameters())
    print(f"{own['out']}: {type(model).__name__}, {count:,} parameters of {files[0]}")


def predict(arguments: list[str]) -> None:
    """Score the newest day, or others, by a finished run; write and print the scores."""
    from alphazoo.files import write_table
    from alphazoo.predict import predict as predict_days
    from alphazoo.predict import print_ranking

    own, rest = _split(arguments, "run", "model_uri", "tracking_uri", "date", "from", "to", "out")
    if ("run" in own) == ("model_uri" in own):
        raise InputError(
            "expected: alphazoo predict run=FOLDER [date=DATE | from=DATE to=DATE], or "
            "model_uri=models:/NAME/VERSION instead of run"
        )
    _be_quiet()
    with _opened(own, rest) as (run, place):
        scores = predict_days(run, date=own.get("date"), first=own.get("from"), last=own.get("to"))
    days = "_".join(f"{day:%Y-%m-%d}" for day in sorted({scores.date.min(), scores.date.max()}))
    file = Path(own.get("out", place / f"{days}.parquet"))
    write_table(scores, file)
    print_ranking(scores)
    print(f"{file}: {len(scores):,} scores")


@contextmanager
def _opened(own: dict[str, str], overrides: list[str]) -> Iterator[tuple[Any, Path]]:
    """The run in a folder or a registry, and where its predictions go by default."""
    from alphazoo.runs import Run

    rest, folders = _own_folder(overrides)
    if "run" in own:
        run = Run.open(own["run"], rest)
        yield run, run.folder / "predictions"
        return
    from alphazoo.tracking.registry import fetch

    with tempfile.TemporaryDirectory() as folder:
        found, version = fetch(
            own["model_uri"], Path(folder), tracking_uri=own.get("tracking_uri"), own=folders
        )
        yield Run.open(found, rest), Path("predictions") / version


def data_check(arguments: list[str]) -> None:
    """Print what a source holds and what looks odd in it."""
    from alphazoo.config import instantiate
    from alphazoo.data.check import check_market

    config = _config(arguments)
    lines = check_market(instantiate(config.data.market)())
    width = max(map(len, lines))
    for subject, found in lines.items():
        print(f"{subject:<{width}}  {found}")


def data_audit(arguments: list[str]) -> None:
    """Fail if features or the state of the market look ahead."""
    from alphazoo.config import instantiate
    from alphazoo.data.audit import find_look_ahead
    from alphazoo.data.state import state_columns

    config = _config(arguments)
    features, market = instantiate(config.features), instantiate(config.data.market)()
    found = find_look_ahead(market, features)
    count = f"{len(features.columns)} features"
    if market.indices:
        count += f" and {len(state_columns(market.indices))} columns of the market's state"
    if found:
        columns = shorten(f"{name} (on {shorten(dates, 2)})" for name, dates in found.items())
        raise InputError(f"{len(found)} of {count} look ahead: {columns}")
    print(f"none of {count} changes without the days that follow")


def data_export(arguments: list[str]) -> None:
    """Write features and the raw forward return as a table."""
    from alphazoo.config import instantiate
    from alphazoo.data.export import export_features

    own, rest = _split(arguments, "out", "from", "to")
    if "out" not in own:
        raise InputError("expected: alphazoo data export data=... [from=DATE] [to=DATE] out=FILE")
    config = _config(rest)
    count = export_features(
        instantiate(config.data.market)(),
        instantiate(config.features),
        instantiate(config.label),
        own["out"],
        first=own.get("from"),
        last=own.get("to"),
    )
    print(f"{own['out']}: {count:,} rows")


def _new_folder() -> str:
    """As a run has it by default."""
    return f"runs/{datetime.now():%Y-%m-%d/%H-%M-%S}"


def _print_figures(figures: dict[str, float]) -> None:
    from alphazoo.compare import FIGURES

    for title, name in FIGURES.items():
        if name in figures:
            print(f"{title:<14}{figures[name]:9.4f}")


def _be_quiet() -> None:
    """Leave out what Lightning says of itself."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in SILENCED:
        warnings.filterwarnings("ignore", message=message)


def _config(arguments: list[str]) -> Any:
    """The config of a command that is not Hydra's own, with every value it needs."""
    from alphazoo.config import check_complete, compose

    rest, own = _own_folder(arguments)
    config = compose(*rest, *(f"hydra.searchpath=[file://{folder}]" for folder in own))
    check_complete(config)
    return config


def _split(arguments: list[str], *names: str) -> tuple[dict[str, str], list[str]]:
    """Arguments ``name=value`` of the command itself, and the others."""
    pairs = [argument.split("=", 1) for argument in arguments]
    own = {pair[0]: pair[-1] for pair in pairs if pair[0] in names}
    return own, [a for a, pair in zip(arguments, pairs, strict=True) if pair[0] not in names]


def _own_folder(arguments: list[str]) -> tuple[list[str], list[Path]]:
    """Find the user's modules beside their yaml, in ``--config-dir``; the rest, and that folder."""
    parts = [part for argument in arguments for part in argument.split("=", 1)]
    for flag, folder in pairwise(parts):
        if flag in ("--config-dir", "-cd"):
            sys.path.insert(0, os.path.abspath(folder))
            rest = [a for a in arguments if a not in (flag, folder, f"{flag}={folder}")]
            return rest, [Path(folder).absolute()]
    return arguments, []
