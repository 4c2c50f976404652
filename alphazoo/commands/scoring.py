"""alphazoo predict, evaluate, compare and ensemble: commands on runs and scores."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alphazoo.commands.arguments import compose_config, split_arguments, take_config_dir, truth
from alphazoo.commands.catalog import expected
from alphazoo.commands.importing import importing
from alphazoo.commands.output import print_evaluation
from alphazoo.errors import InputError
from alphazoo.runs.folders import refuse_run_folder, results_folder
from alphazoo.training.quiet import silence_libraries


def predict(arguments: list[str]) -> None:
    """Score the newest day or other days with a finished run; write and print the scores."""
    with importing():
        from alphazoo.files import write_table
        from alphazoo.serving.predict import identify, print_ranking
        from alphazoo.serving.score_file import DATE, SCORE, SYMBOL, check_name

    own, rest = split_arguments(arguments, "predict")
    if ("run" in own) == ("model_uri" in own):
        raise InputError(expected("predict"))
    rewrite = truth(own, "rewrite")
    for name in ("out", "append"):
        if name in own:
            refuse_run_folder(Path(own[name]).parent)
    if "append" in own:
        check_name(Path(own["append"]))
    if "precision" in own:
        rest = [*rest, f"trainer.precision={own['precision']}"]
    silence_libraries()
    with _open(own, rest) as (run, folder, version):
        scores = identify(
            run,
            date=own.get("date"),
            first=own.get("from"),
            last=own.get("to"),
            version=own.get("version", version),
        )
    print_ranking(scores)
    if "append" in own:
        _append(Path(own["append"]), scores, rewrite=rewrite)
    if "out" in own or "append" not in own:
        days = sorted({scores.date.min(), scores.date.max()})
        name = "_".join(f"{day:%Y-%m-%d}" for day in days)
        file = Path(own.get("out", folder / f"{name}.parquet"))
        write_table(scores[[DATE, SYMBOL, SCORE]], file)
        print(f"{file}: {len(scores):,} scores")


def _append(file: Path, scores: Any, *, rewrite: bool) -> None:
    from alphazoo.serving.score_file import append_scores

    done = append_scores(file, scores, rewrite=rewrite)
    counts = {"added": done.added, "unchanged": done.kept, "replaced": done.replaced}
    days = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    print(f"{file}: days {days}")


@contextmanager
def _open(own: dict[str, str], overrides: list[str]) -> Iterator[tuple[Any, Path, str]]:
    """Open a run from a folder or a registry.

    Yields:
        The run, the default folder of its predictions, and NAME/VERSION in the registry or "".
    """
    from alphazoo.runs.run import Run

    rest, folders = take_config_dir(overrides)
    trust = truth(own, "trust")
    if "run" in own:
        run = Run.open(own["run"], rest, own=folders, trust=trust)
        yield run, run.folder / "predictions", ""
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
        yield run, Path("predictions") / version, version


def evaluate(arguments: list[str]) -> None:
    """Evaluate a score file of any tool: analysis, backtest, report."""
    with importing():
        from alphazoo.data.scores import NAMES
        from alphazoo.evaluation.evaluate import evaluate_file

    own, rest = split_arguments(arguments, "evaluate")
    if "scores" not in own:
        raise InputError(expected("evaluate"))
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
    with importing():
        from alphazoo.evaluation.compare import write_comparison
        from alphazoo.runs.replicates import find_runs, group_replicates

    own, rest = split_arguments(arguments, "compare")
    folders, configs = take_config_dir(rest)
    runs = find_runs(folders, own=configs, trust=truth(own, "trust"))
    if not runs:
        raise InputError(expected("compare"))
    with results_folder(own.get("out")) as folder:
        refuse_run_folder(folder)
        table = write_comparison(folder, group_replicates(runs))
    print(table.to_string(index=False))
    print(f"results: {folder}")


def ensemble(arguments: list[str]) -> None:
    """Average the scores of runs, and evaluate them like the scores of a run."""
    with importing():
        from alphazoo.evaluation.ensemble import write_ensemble
        from alphazoo.runs.replicates import find_runs

    own, rest = split_arguments(arguments, "ensemble")
    folders, configs = take_config_dir(rest)
    runs = find_runs(folders, own=configs, trust=truth(own, "trust"))
    with results_folder(own.get("out")) as folder:
        refuse_run_folder(folder, unless="ensemble")
        metrics = write_ensemble(folder, runs, by=own.get("by", "rank"))
    print_evaluation(metrics)
    print(f"results: {folder}")
