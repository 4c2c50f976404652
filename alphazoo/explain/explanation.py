"""An explanation: tables and figures of what a model looks at, and the page that shows them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from alphazoo.evaluation.report import Section, Table, write_page
from alphazoo.files import write_json, write_table
from alphazoo.runs.folders import remove_files

WRITTEN = ("explain.html", "figures", "tables", "explain.json")
ABOUT = (
    "Attention is not an explanation by itself: a model may attend to what it then ignores. The "
    "captions say what was checked. tables/ holds all tables as Parquet, explain.json the metrics."
)


@dataclass
class Part:
    """One thing that a model shows: a section of the page.

    Attributes:
        title: Title of the section.
        tables: Long tables by name.
        figures: Figures by name.
        captions: What each figure is, and what it is not.
        definitions: Definitions of columns and metrics.
        metrics: Numbers by name.
        notes: Sentences above the figures.
        page: Short tables of text on the page.
        checked_as: Which checks its captions repeat: those of ``"attention"``, of
            ``"attribution"``, or none.
    """

    title: str
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    captions: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    page: list[Table] = field(default_factory=list)
    checked_as: str = "attention"

    def add(self, name: str, figure: Figure, caption: str) -> None:
        """Add a figure with its caption."""
        self.figures[name] = figure
        self.captions[name] = caption


class Seen(NamedTuple):
    """The day that is shown in full.

    Attributes:
        date: Its date, as text.
        scores: [N], by symbol.
        sectors: [N], names, by symbol.
        chosen: Symbols of the chosen stocks.
    """

    date: str
    scores: "pd.Series[float]"
    sectors: "pd.Series[str]"
    chosen: Sequence[str]


@dataclass(frozen=True)
class Explanation:
    """What a model looks at.

    Attributes:
        title: Names of the model and the market.
        subtitle: The days that were looked at.
        name: Their first and last day, for a folder.
        parts: What is shown, each a section of the page.
        details: Names and values that describe the run.
    """

    title: str
    subtitle: str
    name: str
    parts: Sequence[Part]
    details: Mapping[str, str]

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by name."""
        return self._merge(lambda part: part.tables)

    @property
    def figures(self) -> dict[str, Figure]:
        """All figures by name."""
        return self._merge(lambda part: part.figures)

    @property
    def captions(self) -> dict[str, str]:
        """The captions of the figures."""
        return self._merge(lambda part: part.captions)

    @property
    def definitions(self) -> dict[str, str]:
        """Definitions of all columns and metrics."""
        return self._merge(lambda part: part.definitions)

    @property
    def metrics(self) -> dict[str, float]:
        """All metrics by name."""
        return self._merge(lambda part: part.metrics)

    def _merge(self, get: Callable[[Part], Mapping[str, Any]]) -> dict[str, Any]:
        return {name: value for part in self.parts for name, value in get(part).items()}

    def write(self, folder: Path) -> None:
        """Write ``explain.html``, ``figures/*.png``, ``tables/*.parquet`` and ``explain.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        remove_files(folder, WRITTEN)
        for name, table in self.tables.items():
            write_table(table, folder / "tables" / f"{name}.parquet")
        write_json(folder / "explain.json", self.metrics)
        sections = [
            Section(
                part.title,
                part.notes,
                [*part.figures.items()],
                part.page,
                part.captions,
            )
            for part in self.parts
        ]
        sections.append(Section("Run", tables=[Table([*self.details.items()])]))
        write_page(
            folder / "explain.html",
            self.title,
            self.subtitle,
            sections,
            definitions=self.definitions,
            about=ABOUT,
        )
