"""alphazoo predict, evaluate, compare and ensemble: commands on runs and scores."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alphazoo.commands.arguments import compose_config, split_arguments, take_config_dir, truth
from alphazoo.commands.output import print_evaluation, silence_libraries
from alphazoo.errors import InputError
from alphazoo.runs.folders import refuse_run_folder, results_folder


def predict(arguments: list[str]) -> None:
    """Score the newest day or other days with a finished run; write and print the scores."""
    from alphazoo.files import write_table
    from alphazoo.serving.predict import predict as predict_days
    from alphazoo.serving.predict import print_ranking

    days = ("date", "from", "to")
    own, rest = split_arguments(
        arguments, "run", "model_uri", "tracking_uri", "trust", *days, "out"
    )
    if ("run" in own) == ("model_uri" in own):
        raise InputError(
            "expected: alphazoo predict run=FOLDER [date=DATE | from=DATE to=DATE], or "
            "model_uri=models:/NAME/VERSION instead of run"
        )
    if "out" in own:
        refuse_run_folder(Path(own["out"]).parent)
    silence_libraries()
    with _open(own, rest) as (run, folder):
        scores = predict_days(run, date=own.get("date"), first=own.get("from"), last=own.get("to"))
    name = "_".join(f"{day:%Y-%m-%d}" for day in sorted({scores.date.min(), scores.date.max()}))
    file = Path(own.get("out", folder / f"{name}.parquet"))
    write_table(scores, file)
    print_ranking(scores)
    print(f"{file}: {len(scores):,} scores")


@contextmanager
def _open(own: dict[str, str], overrides: list[str]) -> Iterator[tuple[Any, Path]]:
    """Open a run from a folder or a registry; also yield the default folder of its predictions."""
    from alphazoo.runs.run import Run

    rest, folders = take_config_dir(overrides)
    trust = truth(own, "trust")
    if "run" in own:
        run = Run.open(own["run"], rest, own=folders, trust=trust)
        yield run, run.folder / "predictions"
        return
    from alphazoo.tracking.registry import fetch

    with tempfile.TemporaryDirectory() as folder:
        run, version = fetch(
            own["model_uri"],
            Path(folder),
            rest,
            tracking_uri=own.get("tracking_uri"),
            own=folders,
            trust=trust,
        )
        yield run, Path("predictions") / version


def evaluate(arguments: list[str]) -> None:
    """Evaluate a score file of any tool: analysis, backtest, report."""
    from alphazoo.data.scores import NAMES
    from alphazoo.evaluation.evaluate import evaluate_file

    reading = ("date_format", "timezone", *(f"columns.{name}" for name in NAMES))
    names = ("scores", "out", "hydra.run.dir", "drop_unknown", *reading)
    own, rest = split_arguments(arguments, *names)
    if "scores" not in own:
        raise InputError("expected: alphazoo evaluate scores=FILE data=... [out=FOLDER]")
    columns = {name: own[f"columns.{name}"] for name in NAMES if f"columns.{name}" in own}
    drop_unknown = truth(own, "drop_unknown")
    config = compose_config(rest, "data", "label", "backtest")
    with results_folder(own.get("out") or own.get("hydra.run.dir")) as folder:
        refuse_run_folder(folder)
        found = evaluate_file(
            config,
            own["scores"],
            folder,
            drop_unknown=drop_unknown,
            columns=columns,
            date_format=own.get("date_format"),
            timezone=own.get("timezone"),
        )
    print_evaluation(found.metrics)
    print(f"results: {folder}")


def compare(arguments: list[str]) -> None:
    """Compare runs; write and print the table."""
    from alphazoo.evaluation.compare import write_comparison
    from alphazoo.runs.replicates import find_runs, group_replicates

    own, rest = split_arguments(arguments, "out", "trust")
    folders, configs = take_config_dir(rest)
    runs = find_runs(folders, own=configs, trust=truth(own, "trust"))
    if not runs:
        raise InputError("expected: alphazoo compare RUN... [out=FOLDER]")
    with results_folder(own.get("out")) as folder:
        refuse_run_folder(folder)
        table = write_comparison(folder, group_replicates(runs))
    print(table.to_string(index=False))
    print(f"results: {folder}")


def ensemble(arguments: list[str]) -> None:
    """Average the scores of runs, and evaluate them like the scores of a run."""
    from alphazoo.evaluation.ensemble import write_ensemble
    from alphazoo.runs.replicates import find_runs

    own, rest = split_arguments(arguments, "out", "by", "trust")
    folders, configs = take_config_dir(rest)
    runs = find_runs(folders, own=configs, trust=truth(own, "trust"))
    with results_folder(own.get("out")) as folder:
        refuse_run_folder(folder, unless="ensemble")
        metrics = write_ensemble(folder, runs, by=own.get("by", "rank"))
    print_evaluation(metrics)
    print(f"results: {folder}")
