"""alphazoo predict, evaluate, compare and ensemble: commands on runs and scores."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alphazoo.commands.arguments import compose_config, split_arguments, take_config_dir
from alphazoo.commands.output import print_evaluation, silence_libraries
from alphazoo.errors import InputError
from alphazoo.runs.folders import results_folder


def predict(arguments: list[str]) -> None:
    """Score the newest day or other days with a finished run; write and print the scores."""
    from alphazoo.files import write_table
    from alphazoo.serving.predict import predict as predict_days
    from alphazoo.serving.predict import print_ranking

    own, rest = split_arguments(
        arguments, "run", "model_uri", "tracking_uri", "date", "from", "to", "out"
    )
    if ("run" in own) == ("model_uri" in own):
        raise InputError(
            "expected: alphazoo predict run=FOLDER [date=DATE | from=DATE to=DATE], or "
            "model_uri=models:/NAME/VERSION instead of run"
        )
    silence_libraries()
    with _open(own, rest) as (run, folder):
        scores = predict_days(run, date=own.get("date"), first=own.get("from"), last=own.get("to"))
    days = "_".join(f"{day:%Y-%m-%d}" for day in sorted({scores.date.min(), scores.date.max()}))
    file = Path(own.get("out", folder / f"{days}.parquet"))
    write_table(scores, file)
    print_ranking(scores)
    print(f"{file}: {len(scores):,} scores")


@contextmanager
def _open(own: dict[str, str], overrides: list[str]) -> Iterator[tuple[Any, Path]]:
    """Open a run from a folder or a registry; also yield the default folder of its predictions."""
    from alphazoo.runs.run import Run

    rest, folders = take_config_dir(overrides)
    if "run" in own:
        run = Run.open(own["run"], rest)
        yield run, run.folder / "predictions"
        return
    from alphazoo.tracking.registry import fetch

    with tempfile.TemporaryDirectory() as folder:
        store = own.get("tracking_uri")
        run, version = fetch(own["model_uri"], Path(folder), rest, tracking_uri=store, own=folders)
        yield run, Path("predictions") / version


def evaluate(arguments: list[str]) -> None:
    """Evaluate a score file of any tool: analysis, backtest, report."""
    from alphazoo.evaluation.evaluate import evaluate_file

    own, rest = split_arguments(arguments, "scores", "out", "hydra.run.dir", "drop_unknown")
    if "scores" not in own:
        raise InputError("expected: alphazoo evaluate scores=FILE data=... [out=FOLDER]")
    told = own.get("drop_unknown", "false").lower()
    if told not in ("true", "false"):
        raise InputError(f"drop_unknown={own['drop_unknown']}: expected true or false")
    config = compose_config(rest, "data", "label", "backtest")
    with results_folder(own.get("out") or own.get("hydra.run.dir")) as folder:
        refuse_run_folder(folder)
        found = evaluate_file(config, own["scores"], folder, drop_unknown=told == "true")
    print_evaluation(found.metrics)
    print(f"results: {folder}")


def compare(arguments: list[str]) -> None:
    """Compare runs; write and print the table."""
    from alphazoo.evaluation.compare import write_comparison
    from alphazoo.runs.replicates import find_runs, group_replicates

    own, folders = split_arguments(arguments, "out")
    runs = find_runs(folders)
    if not runs:
        raise InputError("expected: alphazoo compare RUN... [out=FOLDER]")
    with results_folder(own.get("out")) as folder:
        table = write_comparison(folder, group_replicates(runs))
    print(table.to_string(index=False))
    print(f"results: {folder}")


def ensemble(arguments: list[str]) -> None:
    """Average the scores of runs, and evaluate them like the scores of a run."""
    from alphazoo.evaluation.ensemble import write_ensemble
    from alphazoo.runs.replicates import find_runs

    own, folders = split_arguments(arguments, "out", "by")
    runs = find_runs(folders)
    with results_folder(own.get("out")) as folder:
        refuse_run_folder(folder, save="ensemble")
        metrics = write_ensemble(folder, runs, by=own.get("by", "rank"))
    print_evaluation(metrics)
    print(f"results: {folder}")


def refuse_run_folder(folder: Path, save: str = "") -> None:
    """Refuse to overwrite the results of a run.

    Args:
        folder: Folder that a command is about to write to.
        save: Key of the config that marks runs which may be overwritten.

    Raises:
        InputError: The folder holds a run.
    """
    from omegaconf import OmegaConf

    file = folder / "config.yaml"
    if file.is_file() and (not save or save not in OmegaConf.load(file)):
        raise InputError(
            f"{folder} is the folder of a run, whose results would be overwritten: choose another "
            "folder as out"
        )
