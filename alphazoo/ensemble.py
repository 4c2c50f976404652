"""An ensemble: the scores of several runs, made comparable day by day and averaged."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf

from alphazoo.config import instantiate
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError, check_choice
from alphazoo.facts import data_facts
from alphazoo.files import write_json
from alphazoo.fit import LOGGED_AS, begin_folder
from alphazoo.metrics import summary, to_unit
from alphazoo.runs import FACTS, Run
from alphazoo.same_data import check_data
from alphazoo.train import report, write_results

METHODS = ("rank", "zscore")


def average_scores(runs: Sequence[Run], by: str) -> pd.DataFrame:
    """Average the scores of runs on the days and stocks that all of them scored.

    Args:
        runs: Two or more, on the same data.
        by: ``"rank"``: percentile rank among the stocks of the day; ``"zscore"``: (score - mean) /
            standard deviation of the day, 0 on a day of equal scores.

    Returns:
        A score table: ``date``, ``symbol``, ``split``, ``score``, ``return``.

    Raises:
        InputError: There is only one run, two have no row in common, or different returns of one.
    """
    if len(runs) < 2:
        raise InputError(f"an ensemble is of two runs or more, got {len(runs)}")
    keys = ["date", "symbol", "split"]
    joined = runs[0].scores.set_index(keys)["return"].to_frame()
    for number, run in enumerate(runs):
        table = run.scores.set_index(keys)
        if not joined.index.isin(table.index).any():
            raise InputError(f"{runs[0].folder} and {run.folder} have no day and stock in common")
        joined = joined.join(table.add_suffix(f" {number}"), how="inner")
        other = joined.pop(f"return {number}")
        different = (joined["return"] != other) & ~(joined["return"].isna() & other.isna())
        if different.any():
            date, symbol, _ = joined.index[int(different.to_numpy().argmax())]
            raise InputError(
                f"{runs[0].folder} and {run.folder} have different returns of {symbol} on "
                f"{date:%Y-%m-%d}: an ensemble is of runs on the same data and holding period"
            )
    mean = average(joined.filter(like="score "), by)
    return joined.assign(score=mean).reset_index()[[*keys, "score", "return"]]


def average(scores: pd.DataFrame, by: str) -> "pd.Series[float]":
    """Mean over columns, each made comparable among the stocks of the day; see `average_scores`.

    Args:
        scores: A column per run, indexed by ``date`` and others.
        by: ``"rank"`` or ``"zscore"``.
    """
    check_choice("method", by, METHODS)
    days = scores.groupby(level="date")
    if by == "rank":
        return days.rank(pct=True).mean(axis=1)
    exact = scores.astype("float64")
    largest = exact.abs().groupby(level="date").transform("max")
    exact[:] = to_unit(exact.to_numpy(), largest.to_numpy())
    days = exact.groupby(level="date")
    standard = (exact - days.transform("mean")) / days.transform("std")
    return standard.where(days.transform("max") > days.transform("min"), 0.0).mean(axis=1)


def write_ensemble(folder: Path, runs: Sequence[Run], *, by: str) -> dict[str, float]:
    """Write the folder of a run whose scores are the average of those of others.

    ``config.yaml`` is that of the first run, with ``ensemble`` saying whose scores these are.

    Returns:
        The figures of ``metrics.json``.

    Raises:
        InputError: The runs cannot be averaged, see `average_scores`, or the data have changed
            since one of them. Of runs before and after the data grew common days are averaged.
    """
    data = _same_data(runs)
    scores = average_scores(runs, by)
    config = runs[0].config.copy()
    config.folder = str(folder)
    made = {"by": by, "runs": [str(run.folder) for run in runs]}
    OmegaConf.update(config, "ensemble", made, force_add=True)
    begin_folder(config)
    metrics = {
        f"{LOGGED_AS[str(split)]}/{name}": value
        for split, table in scores.groupby("split")
        for name, value in summary(table).items()
    }
    write_json(folder / FACTS, {"data": data_facts(data)})
    write_results(folder, metrics, scores)
    report(config, metrics, scores, data, data.concepts)
    return metrics


def _same_data(runs: Sequence[Run]) -> MarketDataModule:
    """The data of now, from which those of no run differ but by days that were to come."""
    data: MarketDataModule = instantiate(runs[0].config.datamodule)
    data.setup()
    for run in runs:
        remedy = "an ensemble is of runs on the same data"
        check_data(run.facts.get("data", {}), data.fingerprint, str(run.folder), remedy=remedy)
    return data
