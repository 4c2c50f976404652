"""alphazoo explain: what the model of a run looks at."""

from pathlib import Path

from alphazoo.commands.arguments import split_arguments, take_config_dir, truth
from alphazoo.commands.catalog import expected
from alphazoo.commands.importing import importing
from alphazoo.errors import InputError
from alphazoo.runs.folders import refuse_run_folder, results_folder
from alphazoo.training.quiet import silence_libraries


def explain(arguments: list[str]) -> None:
    """Show what the model of a run looks at; write tables, figures and a page."""
    with importing():
        from alphazoo.explain.show import explain as explain_run
        from alphazoo.runs.run import Run

    own, rest = split_arguments(arguments, "explain")
    if "run" not in own:
        raise InputError(expected("explain"))
    overrides, folders = take_config_dir(rest)
    trust, checks = truth(own, "trust"), truth(own, "checks")
    if "seeds" in own and not checks:
        raise InputError("seeds are used by the checks: add checks=true")
    if "out" in own:
        refuse_run_folder(Path(own["out"]))
    silence_libraries()
    run, *seeds = (
        Run.open(folder, overrides, own=folders, trust=trust)
        for folder in [own["run"], *(_split(own, "seeds") or [])]
    )
    found = explain_run(
        run,
        date=own.get("date"),
        first=own.get("from"),
        last=own.get("to"),
        what=_split(own, "what"),
        symbols=_split(own, "symbols"),
        checks=checks,
        seeds=seeds,
    )
    with results_folder(own.get("out") or str(run.folder / "explanations" / found.name)) as folder:
        found.write(folder)
    for part in found.parts:
        for note in part.notes:
            print(note)
    for name, value in found.metrics.items():
        print(f"{name:<28}{value:10.4f}")
    print(f"results: {folder}")


def _split(own: dict[str, str], name: str) -> list[str] | None:
    """Return the names in a list with commas, which may have brackets; None if it is not given."""
    if name not in own:
        return None
    return [text for word in own[name].strip("[]").split(",") if (text := word.strip())]
