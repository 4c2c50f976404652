"""Compare runs: metrics and resources, mean and standard deviation over seeds, and curves."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from alphazoo.errors import shorten
from alphazoo.evaluation.figures import compared_figures
from alphazoo.evaluation.report import Section, Table, write_page
from alphazoo.files import write_table, write_text
from alphazoo.metrics import daily_ic
from alphazoo.runs.read import read_rows
from alphazoo.runs.replicates import GroupName, Replicates
from alphazoo.runs.run import Run

log = logging.getLogger(__name__)

EXCESS = "backtest/excess_return_with_cost"
METRICS = {  # title in the published table -> name in metrics.json
    "IC": "test/ic",
    "ICIR": "test/icir",
    "rank IC": "test/rank_ic",
    "rank ICIR": "test/rank_icir",
    "ann. return": f"{EXCESS}/annualised_sum",
    "IR": f"{EXCESS}/information_ratio",
    "max drawdown": f"{EXCESS}/max_drawdown_sum",
}
RESOURCES = {  # title -> name in provenance.json, and decimals
    "seconds": ("seconds", 0),
    "memory, GB": ("memory", 2),
    "GPU memory, GB": ("gpu_memory", 2),
}
DEFINITIONS = {
    "IC, rank IC": "Mean over days of the Pearson (IC) or Spearman (rank IC) correlation of scores "
    "and raw forward returns across the stocks of a day. ICIR and rank ICIR divide it by the "
    "standard deviation over days, not annualised.",
    "ann. return": "Mean over days of the portfolio return after costs minus the benchmark return, "
    "times the number of trading days in a year: summed, not compounded.",
    "IR": "Mean of the same daily returns divided by their standard deviation, annualised.",
    "max drawdown": "Largest fall of the cumulated sum of the same daily returns.",
    "seconds": "Time to read the data, train the model and score the validation and test days, "
    "without the report. For a resumed training run, all its parts without the work that was lost; "
    "for a resumed walk forward, the last part.",
    "memory, GB": "Peak memory of the process in that time, including libraries and data; GPU "
    "memory is the peak of its tensors. A GB is 1e9 bytes.",
}


def compare(
    groups: Mapping[GroupName, Replicates], names: Sequence[str] = ("model",)
) -> pd.DataFrame:
    """Return the mean and standard deviation (ddof 1) of each group's metrics and resources.

    Args:
        groups: Runs that differ only by seed, by the name of the group.
        names: Names of the index levels that hold a group's name.

    Returns:
        One row per group. Columns ``(title, "mean")`` and ``(title, "std")`` for the titles of
        `METRICS` and `RESOURCES`, NaN where unknown, and ``("runs", "")``, the number of runs.
    """
    titles = [*METRICS, *RESOURCES]
    rows = {}
    for name, runs in groups.items():
        found = pd.DataFrame([_measure(run) for run in runs], columns=titles, dtype="float64")
        rows[name] = pd.concat(
            {"mean": found.mean(), "std": found.std()}, names=["statistic", "title"]
        ).swaplevel()
    table = pd.DataFrame(rows).T.reindex(
        columns=[(title, statistic) for title in titles for statistic in ("mean", "std")]
    )
    table[("runs", "")] = [len(runs) for runs in groups.values()]
    return table.rename_axis(index=[*names])


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Format a table of `compare` as mean ± standard deviation, without unknown resources."""
    digits = dict.fromkeys(METRICS, 4) | {title: number for title, (_, number) in RESOURCES.items()}
    columns: dict[str, list[str]] = {}
    for title, number in digits.items():
        mean, std = table[(title, "mean")], table[(title, "std")]
        if title in METRICS or mean.notna().any():
            columns[title] = [_cell(*pair, number) for pair in zip(mean, std, strict=True)]
    columns["runs"] = [str(count) for count in table[("runs", "")]]
    return pd.DataFrame(columns, index=table.index)


def write_comparison(
    folder: Path,
    groups: Mapping[GroupName, Replicates],
    *,
    file: str = "compare",
    title: str = "Comparison",
    names: Sequence[str] = ("model",),
    notes: Sequence[str] = (),
) -> pd.DataFrame:
    """Write a table of groups as Markdown, CSV and HTML, and the figures of the page.

    Args:
        folder: Folder to write into.
        groups: Runs that differ only by seed, by the name of the group.
        file: Name of the files without suffix.
        title: Title of the page.
        names: Headings of the columns that hold a group's name.
        notes: Notes above the table.

    Returns:
        The table, see `readable`.

    Raises:
        InputError: A run has no results.
    """
    table = compare(groups, names)
    shown = readable(table).reset_index()
    folder.mkdir(parents=True, exist_ok=True)
    flat = table.set_axis([" ".join(filter(None, pair)) for pair in table.columns], axis=1)
    write_table(flat.reset_index(), folder / f"{file}.csv")
    write_text(folder / f"{file}.md", _markdown(shown, notes))
    labels = {name: name if isinstance(name, str) else " ".join(name) for name in groups}
    ics = {labels[name]: _mean_ic(group) for name, group in groups.items()}
    values = {labels[name]: _mean_value(group) for name, group in groups.items()}
    runs = [run for group in groups.values() for run in group]
    write_page(
        folder / f"{file}.html",
        title,
        f"{len(runs)} runs: {shorten(run.folder for run in runs)}",
        [
            Section(
                "Test days",
                [
                    "Mean ± standard deviation over the runs of a group, which differ only by "
                    "seed.",
                    *notes,
                ],
                compared_figures(ics, {k: v for k, v in values.items() if v is not None}),
                [Table(shown.to_numpy().tolist(), [*shown.columns])],
            )
        ],
        definitions=DEFINITIONS,
    )
    return shown


def _measure(run: Run) -> dict[str, float | None]:
    """Return the metrics and resources of a run by their titles; None where unknown."""
    metrics, resources = run.metrics, run.provenance.get("resources", {})
    measured = {title: metrics.get(name) for title, name in METRICS.items()}
    return measured | {title: resources.get(name) for title, (name, _) in RESOURCES.items()}


def _cell(mean: float, std: float, digits: int) -> str:
    if pd.isna(mean):
        return "-"
    return f"{mean:.{digits}f}" + ("" if pd.isna(std) else f" ± {std:.{digits}f}")


def _markdown(table: pd.DataFrame, notes: Sequence[str]) -> str:
    rows = [[*table.columns], ["---"] * len(table.columns), *table.to_numpy().tolist()]
    bullets = "".join(f"- {note}\n" for note in notes) + "\n" * bool(notes)
    return bullets + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _mean_ic(runs: Replicates) -> "pd.Series[float]":
    """Return the cumulated daily IC of the test days, averaged over runs."""
    days = [daily_ic(run.scores.query("split == 'test'"))["ic"] for run in runs]
    return pd.concat(days, axis=1).mean(axis=1).fillna(0).cumsum()


def _mean_value(runs: Replicates) -> "pd.Series[float] | None":
    """Return the summed excess return after costs, averaged over runs; None without a backtest."""
    curves = []
    for run in runs:
        file = run.folder / "backtest.parquet"
        if not file.is_file():
            return None
        days = read_rows(file, ["date"], ["return", "cost", "benchmark"]).set_index("date")
        curves.append(days["return"] - days["cost"] - days["benchmark"])
    return pd.concat(curves, axis=1).mean(axis=1).cumsum()
