"""The report: one self-contained HTML file, and its figures as PNG."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from alphazoo.backtest.result import Backtest
from alphazoo.evaluation.analysis import Analysis
from alphazoo.evaluation.definitions import SIGNALS
from alphazoo.evaluation.drawing import COLORS, keep_layout, to_png, to_svg
from alphazoo.evaluation.figures import backtest_figures, signal_figures
from alphazoo.files import write_text

VARIABLES = {role: f"var(--{role})" for role in COLORS}  # colours of the page's style sheet

Format = Callable[[float], str]

UNDEFINED = "-"
METRICS = (
    "Returns are raw forward returns, not the scaled labels that a model learns from. metrics.json "
    "holds the metrics under the same names."
)


@dataclass(frozen=True)
class Table:
    """A table of text; without ``columns`` it is a list of names and values."""

    rows: Sequence[Sequence[str]]
    columns: Sequence[str] = ()
    has_prose: bool = False  # whether the last column is text that may take several lines

    @property
    def details(self) -> bool:
        """Whether the table has no header."""
        return not self.columns


@dataclass(frozen=True)
class Section:
    """A titled part of the page: notes, figures and tables."""

    title: str
    notes: Sequence[str] = ()
    figures: Iterable[tuple[str, Figure]] = ()
    tables: Sequence[Table] = field(default_factory=list)
    captions: Mapping[str, str] = field(default_factory=dict)  # by the name of the figure


def number(digits: int) -> Format:
    """Return a format with a number of decimals; an undefined value is a dash."""
    return lambda value: UNDEFINED if pd.isna(value) else f"{value:.{digits}f}"


def percent(digits: int) -> Format:
    """Return a format of a fraction in per cent."""
    return lambda value: UNDEFINED if pd.isna(value) else f"{100 * value:.{digits}f}%"


def basis_points(value: float) -> str:
    """Format a fraction in basis points."""
    return UNDEFINED if pd.isna(value) else f"{1e4 * value:.1f} bp"


# formats of the metrics of an analysis; by default those of a correlation
SIGNAL: Mapping[str, Format] = defaultdict(
    lambda: number(4),
    dict.fromkeys(("days", "undefined_days", "unscored_days", "newey_west_lags"), number(0))
    | dict.fromkeys(("ic_positive", "rank_ic_positive", "turnover", "coverage"), percent(1))
    | dict.fromkeys(("ic_t", "rank_ic_t", "long_short_t"), number(2))
    | dict.fromkeys(("icir", "rank_icir"), number(3))
    | dict.fromkeys(("spread", "long_short"), basis_points)
    | {"stocks": number(1), "ic": number(4), "rank_ic": number(4)},
)

# formats of risk metrics; by default those of a return
RISK: Mapping[str, Format] = defaultdict(
    lambda: percent(2), {"information_ratio": number(2), "mean": percent(3), "std": percent(3)}
)


def write_report(
    folder: Path,
    title: str,
    analysis: Analysis,
    backtest: Backtest | None,
    *,
    details: Mapping[str, str],
    caveats: Sequence[str],
    training: Iterable[tuple[str, Figure]] = (),
    more: Iterable[Section] = (),
    config: str = "",
) -> None:
    """Write ``report.html`` and ``figures/*.png``.

    Args:
        folder: Folder to write into.
        title: Title of the page.
        analysis: Analysis of the scores.
        backtest: Backtest of the same scores, or None.
        details: Names and values that describe the run, its data and settings.
        caveats: Limitations of the data.
        training: Names and figures of the training run.
        more: Sections after it.
        config: Config of the run as yaml.
    """
    sections = [_signal(analysis)]
    if backtest is not None:
        sections.append(_portfolio(backtest))
    sections += [Section("Training", figures=training), *more]
    sections.append(Section("Run and data", caveats, tables=[Table([*details.items()])]))
    definitions = {f"test/{name}": SIGNALS[name] for name in analysis.metrics}
    definitions |= {name: SIGNALS[name] for name in ("quantiles", "excess", "horizon", "months")}
    if backtest is not None:
        definitions |= {f"backtest/{name}": text for name, text in backtest.definitions.items()}
    first, last = (f"{day:%Y-%m-%d}" for day in analysis.daily.index[[0, -1]])
    write_page(
        folder / "report.html",
        title,
        f"{first} to {last}, {len(analysis.daily):,} days, "
        f"{analysis.metrics['stocks']:.0f} stocks a day",
        sections,
        tiles=_tiles(analysis, backtest),
        definitions=definitions,
        config=config,
    )


def write_page(
    file: Path,
    title: str,
    subtitle: str,
    sections: Iterable[Section],
    *,
    tiles: Sequence[Mapping[str, str]] = (),
    definitions: Mapping[str, str],
    about: str = METRICS,
    config: str = "",
) -> None:
    """Write a page of sections, and its figures as ``figures/<name>.png`` in the same folder."""
    parts: list[dict[str, Any]] = []
    for section in sections:
        figures = []
        for name, figure in section.figures:
            with keep_layout(figure):
                to_png(figure, file.parent / "figures" / f"{name}.png")
                figures.append((name, to_svg(figure, VARIABLES)))
        if figures or section.notes or section.tables:
            parts.append({**vars(section), "figures": figures})
    environment = Environment(
        loader=PackageLoader("alphazoo.evaluation", "."), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("report.html.jinja").render(
        title=title,
        subtitle=subtitle,
        tiles=tiles,
        sections=parts,
        definitions=[*definitions.items()],
        about=about,
        config=config,
    )
    write_text(file, page)


def text_table(frame: pd.DataFrame, formats: Mapping[str, Format]) -> Table:
    """Return the index of a table and those of its columns that have a format."""
    names = [name for name in frame.columns if name in formats]
    index_names = [str(name) for name in frame.index.names]
    rows = []
    for index, row in zip(frame.index, frame[names].itertuples(index=False), strict=True):
        keys = index if isinstance(index, tuple) else (index,)
        cells = [formats[name](value) for name, value in zip(names, row, strict=True)]
        rows.append([*map(str, keys), *cells])
    return Table(rows, [*index_names, *map(str, names)])


def _tiles(analysis: Analysis, backtest: Backtest | None) -> list[dict[str, str]]:
    tiles = [
        {"label": label, "value": to_text(analysis.metrics[name]), "definition": SIGNALS[name]}
        for name, label, to_text in (
            ("ic", "IC", number(4)),
            ("icir", "ICIR, daily", number(3)),
            ("rank_ic", "rank IC", number(4)),
            ("rank_icir", "rank ICIR, daily", number(3)),
            ("ic_t", "t-statistic of IC", number(1)),
        )
    ]
    if backtest is not None:
        excess = "excess_return_with_cost"
        metrics, definitions = backtest.metrics, backtest.definitions
        tiles += [
            {
                "label": label,
                "value": to_text(metrics[name]),
                "definition": definitions[name],
            }
            for name, label, to_text in (
                (f"{excess}/annualised_sum", "annual excess return after costs, sum", percent(1)),
                (f"{excess}/information_ratio", "information ratio, annualised", number(2)),
                (f"{excess}/max_drawdown_sum", "maximum drawdown of the sum", percent(1)),
                ("turnover/mean", "daily turnover, both sides", percent(1)),
            )
        ]
    return tiles


def _signal(analysis: Analysis) -> Section:
    metrics = [(name, SIGNAL[name](value)) for name, value in analysis.metrics.items()]
    return Section(
        "Signal",
        figures=signal_figures(analysis.tables),
        tables=[text_table(analysis.years, SIGNAL), Table(metrics, ["metric", "value"])],
    )


def _portfolio(backtest: Backtest) -> Section:
    metrics = pd.Series(backtest.metrics)
    costs, turnover = metrics.pop("cost/annualised_sum"), metrics.pop("turnover/mean")
    risk = metrics[metrics.index.str.contains("/")]
    series, names = zip(*risk.index.str.split("/"), strict=True)
    table = risk.set_axis(pd.MultiIndex.from_arrays([names, series])).unstack()
    table = table[[*dict.fromkeys(series)]]
    rows = [[name, *map(RISK[name], table.loc[name])] for name in dict.fromkeys(names)]
    notes = [f"Costs {costs:.2%} a year", f"turnover {turnover:.1%} a day", *backtest.notes]
    return Section(
        "Portfolio",
        ["; ".join(notes) + "."],
        backtest_figures(backtest.days),
        [Table(rows, ["daily", *(str(name).replace("_", " ") for name in table)])],
    )
