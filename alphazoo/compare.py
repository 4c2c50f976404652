"""Compare runs: the table of published results and costs, mean and deviation over seeds, curves."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from alphazoo.errors import shorten
from alphazoo.figures import compared_figures
from alphazoo.files import replacing, write_table
from alphazoo.groups import Group, Name
from alphazoo.metrics import daily_ic
from alphazoo.report import Section, Table, write_page
from alphazoo.runs import Run

log = logging.getLogger(__name__)

EXCESS = "backtest/excess_return_with_cost"
FIGURES = {  # as the published table has them; names in metrics.json
    "IC": "test/ic",
    "ICIR": "test/icir",
    "rank IC": "test/rank_ic",
    "rank ICIR": "test/rank_icir",
    "ann. return": f"{EXCESS}/annualised_sum",
    "IR": f"{EXCESS}/information_ratio",
    "max drawdown": f"{EXCESS}/max_drawdown_sum",
}
COSTS = {  # names in facts.json, and decimals
    "seconds": ("seconds", 0),
    "memory, GB": ("memory", 2),
    "GPU memory, GB": ("gpu_memory", 2),
}
DEFINITIONS = {
    "IC, rank IC": "Mean over days of the correlation, Pearson and Spearman, of scores and raw "
    "forward returns among the stocks of a day; ICIR divides it by the standard deviation of the "
    "days, not annualised.",
    "ann. return": "Daily portfolio return after costs minus benchmark return, mean over days "
    "times the trading days of a year: summed, not compounded.",
    "IR": "Mean by standard deviation of the same daily returns, annualised.",
    "max drawdown": "Deepest fall of the cumulated sum of the same daily returns.",
    "seconds": "From the start of a run to its scores: data are read, the model is trained, valid "
    "and test days are scored; the report is not in it. Of a training that was stopped and went on "
    "its parts, less what was lost; of a walk forward that went on the last part.",
    "memory, GB": "Most that the process held in that time, libraries and data included; on a GPU "
    "most that tensors took there. A GB is 1e9 bytes.",
}


def compare(groups: Mapping[Name, Group], names: Sequence[str] = ("model",)) -> pd.DataFrame:
    """Figures and costs of each group: their mean and deviation (ddof 1), and ``runs``.

    Args:
        groups: By name.
        names: What the names are, the index.

    Returns:
        Columns ``(figure, "mean")`` and ``(figure, "std")`` of `FIGURES` and `COSTS`, nan where
        unknown, and ``("runs", "")``.
    """
    titles = [*FIGURES, *COSTS]
    rows = {}
    for name, runs in groups.items():
        found = pd.DataFrame([_figures(run) for run in runs], columns=titles, dtype="float64")
        rows[name] = pd.concat(
            {"mean": found.mean(), "std": found.std()}, names=["of", "figure"]
        ).swaplevel()
    table = pd.DataFrame(rows).T.reindex(
        columns=[(t, of) for t in titles for of in ("mean", "std")]
    )
    table[("runs", "")] = [len(runs) for runs in groups.values()]
    return table.rename_axis(index=[*names])


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `compare` in the published form: mean ± deviation; costs that are known."""
    digits = dict.fromkeys(FIGURES, 4) | {title: number for title, (_, number) in COSTS.items()}
    columns: dict[str, list[str]] = {}
    for title, number in digits.items():
        mean, std = table[(title, "mean")], table[(title, "std")]
        if title in FIGURES or mean.notna().any():
            columns[title] = [_cell(*pair, number) for pair in zip(mean, std, strict=True)]
    columns["runs"] = [str(count) for count in table[("runs", "")]]
    return pd.DataFrame(columns, index=table.index)


def write_comparison(
    folder: Path,
    groups: Mapping[Name, Group],
    *,
    file: str = "compare",
    title: str = "Comparison",
    names: Sequence[str] = ("model",),
    notes: Sequence[str] = (),
) -> pd.DataFrame:
    """Write a table of groups as Markdown, CSV and page, and the figures of the page.

    Args:
        folder: Where to.
        groups: Runs that differ by seed alone, by name.
        file: Name of the files without ending.
        title: Of the page.
        names: What the names of groups are.
        notes: What a reader must know.

    Returns:
        The table, see `readable`.

    Raises:
        InputError: A run has not ended.
    """
    table = compare(groups, names)
    shown = readable(table).reset_index()
    folder.mkdir(parents=True, exist_ok=True)
    flat = table.set_axis([" ".join(filter(None, pair)) for pair in table.columns], axis=1)
    write_table(flat.reset_index(), folder / f"{file}.csv")
    with replacing(folder / f"{file}.md") as beside:
        beside.write_text(_markdown(shown, notes), encoding="utf-8")
    said = {name: name if isinstance(name, str) else " ".join(name) for name in groups}
    cumulated = {said[name]: _mean_ic(group) for name, group in groups.items()}
    values = {said[name]: _mean_value(group) for name, group in groups.items()}
    runs = [run for group in groups.values() for run in group]
    write_page(
        folder / f"{file}.html",
        title,
        f"{len(runs)} runs: {shorten(run.folder for run in runs)}",
        [
            Section(
                "Test days",
                [
                    "Mean ± standard deviation over the runs of a group, which differ by seed "
                    "alone.",
                    *notes,
                ],
                compared_figures(cumulated, {k: v for k, v in values.items() if v is not None}),
                [Table(shown.to_numpy().tolist(), [*shown.columns])],
            )
        ],
        definitions=DEFINITIONS,
    )
    return shown


def _figures(run: Run) -> dict[str, float | None]:
    metrics, cost = run.metrics, run.facts.get("cost", {})
    figures = {title: metrics.get(name) for title, name in FIGURES.items()}
    return figures | {title: cost.get(name) for title, (name, _) in COSTS.items()}


def _cell(mean: float, std: float, digits: int) -> str:
    if pd.isna(mean):
        return "-"
    return f"{mean:.{digits}f}" + ("" if pd.isna(std) else f" ± {std:.{digits}f}")


def _markdown(table: pd.DataFrame, notes: Sequence[str]) -> str:
    rows = [[*table.columns], ["---"] * len(table.columns), *table.to_numpy().tolist()]
    head = "".join(f"- {note}\n" for note in notes) + "\n" * bool(notes)
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _mean_ic(runs: Group) -> "pd.Series[float]":
    """Cumulated daily IC of the test days, mean over runs."""
    days = [daily_ic(run.scores.query("split == 'test'"))["ic"] for run in runs]
    return pd.concat(days, axis=1).mean(axis=1).fillna(0).cumsum()


def _mean_value(runs: Group) -> "pd.Series[float] | None":
    """Summed excess return after costs, mean over runs; None where one has no backtest."""
    curves = []
    for run in runs:
        file = run.folder / "backtest.parquet"
        if not file.is_file():
            return None
        days = pd.read_parquet(file).set_index("date")
        curves.append(days["return"] - days["cost"] - days["benchmark"])
    return pd.concat(curves, axis=1).mean(axis=1).cumsum()
