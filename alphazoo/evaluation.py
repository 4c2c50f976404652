"""Evaluate scores: signal analysis, backtest, report; of a run or of any other tool."""

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

from alphazoo.analysis import Analysis, analyse, write_analysis
from alphazoo.backtest.result import Backtest
from alphazoo.config import instantiate
from alphazoo.data.check import describe_market
from alphazoo.data.concepts import Concepts, find_concepts
from alphazoo.data.labels import Label
from alphazoo.data.market import Market
from alphazoo.files import write_json
from alphazoo.folders import clear
from alphazoo.report import write_report
from alphazoo.scores import join_returns, read_scores
from alphazoo.settings import check_settings

log = logging.getLogger(__name__)

WRITTEN = (
    *("report.html", "figures", "analysis"),
    *("backtest.parquet", "positions.parquet", "trades.parquet"),
)
PACKAGES = ("alphazoo", "torch", "lightning", "numpy", "pandas")


@dataclass(frozen=True)
class Evaluation:
    """What scores are worth.

    Attributes:
        analysis: What they say about raw returns.
        backtest: What trading by them earns; None without one.
    """

    analysis: Analysis
    backtest: Backtest | None

    @property
    def figures(self) -> dict[str, float]:
        """All figures by name: ``test/...`` of the analysis, ``backtest/...``."""
        figures = {f"test/{name}": value for name, value in self.analysis.figures.items()}
        if self.backtest is not None:
            figures |= {f"backtest/{name}": x for name, x in self.backtest.figures.items()}
        return figures


def evaluate(
    scores: pd.DataFrame,
    market: Market,
    *,
    label: Label,
    backtest: partial[Backtest] | None,
    concepts: Concepts | None = None,
) -> Evaluation:
    """Analyse scores and trade by them.

    Args:
        scores: Columns ``date symbol score return``, such as the test rows of ``scores.parquet``.
        market: Where they are of.
        label: Gives the holding period of the returns.
        backtest: A node of ``configs/backtest``, instantiated; None: no backtest.
        concepts: For IC by concept.

    Raises:
        InputError: The scores do not fit the market, or are too few for the backtest.
    """
    analysis = analyse(scores, market, concepts=concepts, holding=label.sell - label.buy)
    return Evaluation(analysis, backtest(scores, market) if backtest else None)


def evaluate_file(
    config: DictConfig, scores: str | Path, folder: Path, *, drop_unknown: bool = False
) -> Evaluation:
    """Evaluate a score file of any tool, and write what `write_evaluation` writes.

    Args:
        config: Says where the data are and how to trade.
        scores: A table, see `alphazoo.scores.read_scores`; of several splits the test rows count.
        folder: Where to write.
        drop_unknown: See `alphazoo.scores.join_returns`.

    Raises:
        InputError: The file or the data cannot be used, or do not fit each other.
    """
    check_settings(config, "data", "label", "backtest")
    label: Label = instantiate(config.label)
    backtest = instantiate(config.get("backtest")) or None
    market: Market = instantiate(config.data.market)()
    table = read_scores(scores)
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
    facts = {"scores": str(scores), **market_facts(market), **label_facts(config)}
    folder.mkdir(parents=True, exist_ok=True)
    write_evaluation(folder, found, f"Scores of {Path(scores).name}", facts=facts, market=market)
    write_json(folder / "metrics.json", found.figures)
    return found


def write_evaluation(
    folder: Path,
    found: Evaluation,
    title: str,
    *,
    facts: Mapping[str, str],
    market: Market,
    training: Iterable[tuple[str, Figure]] = (),
    config: str = "",
    notes: Sequence[str] = (),
) -> None:
    """Write ``report.html``, ``figures/``, ``analysis/`` and the tables of the backtest.

    Those of an earlier evaluation are deleted first. ``notes`` are caveats beside those of the
    market.
    """
    clear(folder, WRITTEN)
    write_analysis(folder / "analysis", found.analysis)
    if found.backtest is not None:
        found.backtest.write(folder)
    facts = {**facts, "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "versions": _versions()}
    write_report(
        folder,
        title,
        found.analysis,
        found.backtest,
        facts=facts,
        caveats=[*notes, *caveats(market, found.backtest)],
        training=training,
        config=config,
    )
    log.info("report: %s", folder / "report.html")


def market_facts(market: Market) -> dict[str, str]:
    """What the data are."""
    return {"market": market.name} | describe_market(market)


def label_facts(config: DictConfig) -> dict[str, str]:
    """What the returns are, and how it is traded on them."""
    buy, sell = config.label.buy, config.label.sell
    facts = {"return": f"from the close of t+{buy} to that of t+{sell}, for the score of day t"}
    if config.backtest:
        kind, *settings = config.backtest.strategy.items()
        settings += [pair for pair in config.backtest.exchange.items() if pair[0] != "_target_"]
        facts["portfolio"] = f"{kind[1].rpartition('.')[2]}: " + ", ".join(
            f"{name} {value}" for name, value in settings
        )
    return facts


def caveats(market: Market, backtest: Backtest | None = None) -> Sequence[str]:
    """What makes results on these data look better, or other, than they are."""
    found = [f"{note}." for note in market.notes]
    if backtest is not None:
        found += backtest.caveats
    if not (market.members.any(dim=0) & ~market.members[-1]).any():
        found.append(
            "No stock ever leaves the universe: it seems to be of survivors, whose past returns "
            "are better than those of the stocks one could have chosen then."
        )
    if "vwap" not in market.fields:
        found.append("The data have no vwap: features of it are 0.")
    return found


def _versions() -> str:
    found = [f"{name} {version(name)}" for name in PACKAGES]
    return ", ".join([*found, f"Python {platform.python_version()}"])
