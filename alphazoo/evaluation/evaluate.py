"""Evaluate the scores of a run or of any other tool: signal analysis, backtest, report."""

import logging
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from omegaconf import DictConfig

from alphazoo.backtest.result import Backtest
from alphazoo.config import instantiate
from alphazoo.data.labels import Label
from alphazoo.data.scores import join_returns, read_scores
from alphazoo.errors import InputError
from alphazoo.evaluation.analysis import Analysis, analyse, write_analysis
from alphazoo.evaluation.figures import backtest_figures, signal_figures
from alphazoo.evaluation.report import Section, write_report
from alphazoo.files import write_json
from alphazoo.market.check import describe_market
from alphazoo.market.concept_sources import find_concepts
from alphazoo.market.concepts import Concepts
from alphazoo.market.market import Market
from alphazoo.runs.folders import remove_files
from alphazoo.runs.settings import check_settings

log = logging.getLogger(__name__)

WRITTEN = (
    *("report.html", "figures", "analysis"),
    *("backtest.parquet", "positions.parquet", "trades.parquet"),
)
PACKAGES = ("alphazoo", "torch", "lightning", "numpy", "pandas")


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a score table.

    Attributes:
        analysis: Signal analysis of the scores against raw forward returns.
        backtest: Backtest of the scores, or None.
        refusal: Why the scores cannot be backtested, if a backtest was wanted.
    """

    analysis: Analysis
    backtest: Backtest | None
    refusal: str = ""

    @property
    def metrics(self) -> dict[str, float]:
        """All metrics, ``test/...`` of the analysis and ``backtest/...`` of the backtest."""
        metrics = {f"test/{name}": value for name, value in self.analysis.metrics.items()}
        if self.backtest is not None:
            metrics |= {f"backtest/{name}": x for name, x in self.backtest.metrics.items()}
        return metrics

    @property
    def figures(self) -> dict[str, Figure]:
        """The figures of the report by name, such as ``"ic_cumulated"`` and ``"value"``."""
        drawn = dict(signal_figures(self.analysis.tables))
        return drawn | dict(backtest_figures(self.backtest.days) if self.backtest else ())


def evaluate(
    scores: pd.DataFrame,
    market: Market,
    *,
    label: Label,
    backtest: partial[Backtest] | None,
    concepts: Concepts | None = None,
) -> Evaluation:
    """Analyse scores and backtest them; if they cannot be backtested, a warning says why.

    Args:
        scores: Columns ``date symbol score return``, such as the test rows of ``scores.parquet``.
        market: The market of the scores.
        label: The holding period of the returns.
        backtest: An instantiated node of ``configs/backtest``; None for no backtest.
        concepts: Concepts for the IC by concept.

    Raises:
        InputError: The scores do not fit the market.
    """
    analysis = analyse(scores, market, concepts=concepts, holding=label.sell - label.buy)
    try:
        return Evaluation(analysis, backtest(scores, market) if backtest else None)
    except InputError as error:
        log.warning("no backtest: %s", error)
        return Evaluation(analysis, None, str(error))


def evaluate_file(
    config: DictConfig,
    scores: str | Path,
    folder: Path,
    *,
    drop_unknown: bool = False,
    columns: Mapping[str, str] | None = None,
    date_format: str | None = None,
    timezone: str | None = None,
) -> Evaluation:
    """Evaluate a score file of any tool, and write what `write_evaluation` writes.

    Args:
        config: Config with the data, the label and the backtest.
        scores: A table, see `alphazoo.data.scores.read_scores`; if it has the split ``"test"``,
            only the rows of that split are used.
        folder: Folder to write into.
        drop_unknown: See `alphazoo.data.scores.join_returns`.
        columns: The table's own column names, see `alphazoo.data.scores.read_scores`.
        date_format: Format of dates that are text, see there.
        timezone: Time zone of the exchange, see there.

    Raises:
        InputError: The file or the data cannot be used, or do not fit each other.
    """
    check_settings(config, "data", "label", "backtest")
    label: Label = instantiate(config.label)
    backtest = instantiate(config.get("backtest")) or None
    market: Market = instantiate(config.data.market)()
    table = read_scores(scores, columns=columns, date_format=date_format, timezone=timezone)
    if "split" in table and "test" in set(table["split"]):
        table = table[table["split"] == "test"]
    table = join_returns(table, market, label, drop_unknown=drop_unknown)
    earlier = range(int((market.dates < table["date"].min()).sum()))
    concepts = find_concepts(instantiate(config.data.concepts), market, earlier)
    found = evaluate(
        table,
        market,
        label=label,
        backtest=backtest,
        concepts=concepts if concepts.names else None,
    )
    details = {"scores": str(scores), **market_details(market), **label_details(config)}
    folder.mkdir(parents=True, exist_ok=True)
    write_evaluation(
        folder, found, f"Scores of {Path(scores).name}", details=details, market=market
    )
    write_json(folder / "metrics.json", found.metrics)
    return found


def write_evaluation(
    folder: Path,
    found: Evaluation,
    title: str,
    *,
    details: Mapping[str, str],
    market: Market,
    training: Iterable[tuple[str, Figure]] = (),
    config: str = "",
    notes: Sequence[str] = (),
    more: Iterable[Section] = (),
) -> None:
    """Write ``report.html``, ``figures/``, ``analysis/`` and the tables of the backtest.

    The files of an earlier evaluation are deleted first. ``notes`` are caveats in addition to those
    of the market and the backtest, ``more`` further sections.
    """
    remove_files(folder, WRITTEN)
    write_analysis(folder / "analysis", found.analysis)
    if found.backtest is not None:
        found.backtest.write(folder)
    created = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    details = {**details, "created": created, "versions": _versions()}
    refusal = [f"There is no backtest: {found.refusal}."] if found.refusal else []
    write_report(
        folder,
        title,
        found.analysis,
        found.backtest,
        details=details,
        caveats=[*notes, *refusal, *caveats(market, found.backtest)],
        training=training,
        more=more,
        config=config,
    )
    log.info("report: %s", folder / "report.html")


def market_details(market: Market) -> dict[str, str]:
    """Describe the data for the report, as names and values."""
    return {"market": market.name} | describe_market(market)


def label_details(config: DictConfig) -> dict[str, str]:
    """Describe the returns and the portfolio for the report, as names and values."""
    buy, sell = config.label.buy, config.label.sell
    described = {
        "return": f"from the close of t+{buy} to the close of t+{sell}, for the score of day t"
    }
    if config.backtest:
        target, *settings = config.backtest.strategy.items()
        settings += [pair for pair in config.backtest.exchange.items() if pair[0] != "_target_"]
        described["portfolio"] = f"{target[1].rpartition('.')[2]}: " + ", ".join(
            f"{name} {value}" for name, value in settings
        )
    return described


def caveats(market: Market, backtest: Backtest | None = None) -> Sequence[str]:
    """List the limitations of the data and the backtest that may bias results."""
    found = [f"{note}." for note in market.notes]
    if backtest is not None:
        found += backtest.caveats
    if not (market.members.any(dim=0) & ~market.members[-1]).any():
        found.append(
            "No stock ever leaves the universe, which suggests survivorship bias: past returns of "
            "today's members are better than those of the stocks one could have chosen then."
        )
    if "vwap" not in market.fields:
        found.append("The data have no vwap: features based on it are 0.")
    return found


def _versions() -> str:
    found = [f"{name} {version(name)}" for name in PACKAGES]
    return ", ".join([*found, f"Python {platform.python_version()}"])
