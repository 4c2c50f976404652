"""What each command does with its arguments; heavy modules are imported when one is run."""

import logging
import os
import sys
import warnings
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from alphazoo.errors import InputError, shorten

SILENCED = (
    ".*LeafSpec.*",  # Lightning about its own use of torch
    ".*does not have many workers.*",  # a day is gathered faster than a worker could send it
    ".*callbacks used to create the checkpoint.*",  # scoring needs none of them
    ".*DistributedSampler.*",  # a repeated day counts once, see alphazoo.metrics.ScoreTable
)


def train(arguments: list[str]) -> None:
    """Train a model, or several with ``-m``."""
    import hydra

    from alphazoo.config import VERSION_BASE, config_dir

    command_line = sys.argv

    def job(config: Any) -> None:
        sys.argv = command_line  # Lightning starts further processes with it
        from alphazoo.sweep.jobs import run_in_sweep

        logging.getLogger("lightning").handlers.clear()  # the root logger prints already
        _be_quiet()
        run_in_sweep(config, _train)

    _own_folder(arguments)
    sys.argv = ["alphazoo train", *arguments]
    hydra.main(version_base=VERSION_BASE, config_path=str(config_dir()), config_name="train")(job)()


def _train(config: Any) -> None:
    from hydra.core.hydra_config import HydraConfig
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from alphazoo.train import print_figures, train

    callbacks = []
    settings = HydraConfig.get().sweeper
    if settings.get("trial") is not None:
        from alphazoo.sweep.study import Pruning

        callbacks.append(Pruning(settings, config.monitor))
    try:
        print_figures(train(config, callbacks), config.folder)
    except MisconfigurationException as error:  # Lightning's word for an unusable setting
        raise InputError(" ".join(str(error).split())) from error


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
    from alphazoo.compare import find_runs, write_comparison

    own, folders = _split(arguments, "out")
    folder = Path(own.get("out") or _new_folder())
    print(write_comparison(folder, find_runs(folders)).to_string(index=False))
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
    """Make a checkpoint of the weights of a network of Qlib."""
    from alphazoo.config import compose, instantiate
    from alphazoo.qlib import import_weights

    files = [argument for argument in arguments if "=" not in argument]
    own, rest = _split([a for a in arguments if "=" in a], "out")
    if len(files) != 1 or "out" not in own or not any(a.startswith("model=") for a in rest):
        raise InputError("expected: alphazoo import-qlib FILE model=NAME out=CHECKPOINT")
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
    from alphazoo.runs import Run

    own, rest = _split(arguments, "run", "date", "from", "to", "out")
    if "run" not in own:
        raise InputError("expected: alphazoo predict run=FOLDER [date=DATE | from=DATE to=DATE]")
    _be_quiet()
    run = Run.open(own["run"], _own_folder(rest))
    scores = predict_days(run, date=own.get("date"), first=own.get("from"), last=own.get("to"))
    days = "_".join(f"{day:%Y-%m-%d}" for day in sorted({scores.date.min(), scores.date.max()}))
    file = Path(own.get("out", run.folder / "predictions" / f"{days}.parquet"))
    write_table(scores, file)
    print_ranking(scores)
    print(f"{file}: {len(scores):,} scores")


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

    config = compose(*_own_folder(arguments))
    check_complete(config)
    return config


def _split(arguments: list[str], *names: str) -> tuple[dict[str, str], list[str]]:
    """Arguments ``name=value`` of the command itself, and the others."""
    pairs = [argument.split("=", 1) for argument in arguments]
    own = {pair[0]: pair[-1] for pair in pairs if pair[0] in names}
    return own, [a for a, pair in zip(arguments, pairs, strict=True) if pair[0] not in names]


def _own_folder(arguments: list[str]) -> list[str]:
    """Find the user's modules beside their yaml, in ``--config-dir``; the flag as an override."""
    parts = [part for argument in arguments for part in argument.split("=", 1)]
    for flag, folder in pairwise(parts):
        if flag in ("--config-dir", "-cd"):
            sys.path.insert(0, os.path.abspath(folder))
            rest = [a for a in arguments if a not in (flag, folder, f"{flag}={folder}")]
            return [*rest, f"hydra.searchpath=[file://{os.path.abspath(folder)}]"]
    return arguments
