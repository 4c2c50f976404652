"""What is explained: the model and the data of a finished run, and the days that are looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from omegaconf import DictConfig

from alphazoo.data.days import DayBatch
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError, check_choice, did_you_mean
from alphazoo.models.base import StockModel
from alphazoo.models.probe import KINDS, find_probes
from alphazoo.runs.run import Run
from alphazoo.serving.load import load_run
from alphazoo.serving.predict import check_days, find_day, warn_of_changed_data

DAYS = 60  # days that are looked at by default, the last of the test days
SECTORS, ATTRIBUTION = "sectors", "attribution"
WHAT = (*KINDS, SECTORS, ATTRIBUTION)


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained model with its data, on the CPU.

    Attributes:
        config: Config of the run.
        model: The model, in evaluation mode.
        data: The data, with the scaling statistics of the checkpoint.
        rows: Rows of the calendar that are looked at; the last one is shown in full.
        run: The run that the model is from; None for one that was just trained.
    """

    config: DictConfig
    model: StockModel
    data: MarketDataModule
    rows: Sequence[int]
    run: Run | None = None

    @property
    def name(self) -> str:
        """Name of the model class."""
        return type(self.model).__name__

    def day(self, row: int) -> DayBatch:
        """Return the day at a row of the calendar."""
        return self.data.days("predict").panels.day(row)

    def date(self, row: int) -> pd.Timestamp:
        """Return the date of a row of the calendar."""
        return self.data.market.dates[row]

    def symbols(self, day: DayBatch) -> list[str]:
        """Return the symbols of the stocks of a day, [N]."""
        return [self.data.market.symbols[stock] for stock in day.stocks.tolist()]

    @property
    def concepts(self) -> tuple[str, ...]:
        """Names of the concepts, [C]; empty without concepts."""
        return self.data.concepts.names if self.data.concepts else ()

    @property
    def attends_to_stocks(self) -> bool:
        """Whether the model shows which stocks a stock attends to."""
        axes = {probe.axes for probe in find_probes(self.model).values()}
        reads_members = {("stock", "concept"), ("concept", "other")} <= axes
        return reads_members or "attention" in self.model.shows

    @property
    def shows(self) -> list[str]:
        """What can be shown of the model."""
        sectors = [SECTORS] if self.attends_to_stocks and self.concepts else []
        return [*self.model.shows, *sectors, ATTRIBUTION]


def open_subject(
    run: Run, *, date: str | None = None, first: str | None = None, last: str | None = None
) -> Subject:
    """Load model and data of a run; of a walk forward, those of its last window.

    Args:
        run: The run.
        date: The only day.
        first: The first of several days. Without ``date``, ``first`` and ``last``, the last 60
            test days are looked at.
        last: The last of several days.

    Raises:
        InputError: The run is an ensemble or has no checkpoint, or there is no such day.
    """
    check_days(date, first, last)
    if "ensemble" in run.config:
        folders = ", ".join(map(str, run.config.ensemble.runs))
        raise InputError(f"{run.folder} is an ensemble: explain one of its runs, {folders}")
    loaded = load_run(run)
    run, data, model, state = loaded.run, loaded.data, loaded.model, dict(loaded.content)
    data.load_state_dict(state["MarketDataModule"])
    warn_of_changed_data(run, state["MarketDataModule"].get("data", {}), data)
    data.predict_days(_choose_rows(data, date, first, last))
    model.on_load_checkpoint(state)
    model.load_state_dict(state["state_dict"])
    model.build_memory(data.days("train"))
    return Subject(run.config, model.eval(), data, data.segments["predict"], run)


def _choose_rows(
    data: MarketDataModule, date: str | None, first: str | None, last: str | None
) -> Sequence[int]:
    if not (date or first or last):
        return data.segments["test"][-DAYS:]
    return [find_day(data.market, date)] if date else data.market.rows(first, last)


def choose_kinds(subject: Subject, wanted: Sequence[str] | None) -> list[str]:
    """Return what is shown; by default everything that can be.

    Raises:
        InputError: Something is unknown, the model cannot show it, or there are no concepts.
    """
    possible = subject.shows
    if wanted is None:
        return possible
    for kind in wanted:
        check_choice("what", kind, WHAT)
        if kind == SECTORS and subject.attends_to_stocks and not subject.concepts:
            raise InputError(
                "what=sectors needs the sectors of the stocks, but the run has no concepts: set "
                "data.concepts=FILE (columns symbol and concept)"
            )
        if kind not in possible:
            raise InputError(
                f"{subject.name} cannot show {kind}; it can show: {', '.join(possible)}"
            )
    return [kind for kind in possible if kind in wanted]


def choose_stocks(
    subject: Subject, day: DayBatch, wanted: Sequence[str] | None, default: Sequence[int]
) -> list[int]:
    """Return the places of stocks in a day.

    Raises:
        InputError: A symbol was no member on the day.
    """
    if wanted is None:
        return [*default]
    places = {symbol: place for place, symbol in enumerate(subject.symbols(day))}
    for symbol in wanted:
        if symbol not in places:
            raise InputError(
                f"symbols={symbol}: no member of market {subject.data.market.name!r} with a price "
                f"on {subject.date(int(day.date)):%Y-%m-%d}; {did_you_mean(symbol, places)}"
            )
    return [places[symbol] for symbol in dict.fromkeys(wanted)]
