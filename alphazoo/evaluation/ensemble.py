"""An ensemble: the scores of several runs, standardised per day and averaged."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf

from alphazoo.config import instantiate
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError, check_choice
from alphazoo.evaluation.run_report import report
from alphazoo.files import write_json
from alphazoo.metrics import summary, to_unit
from alphazoo.runs.provenance import data_provenance
from alphazoo.runs.replicates import name_model
from alphazoo.runs.run import PROVENANCE, Run
from alphazoo.runs.same_data import check_data
from alphazoo.training.fit import LOG_PREFIX, prepare_folder
from alphazoo.training.train import write_results

METHODS = ("rank", "zscore")


def average_scores(runs: Sequence[Run], by: str) -> pd.DataFrame:
    """Average the scores of runs over the days and stocks that all of them scored.

    Args:
        runs: Two or more runs on the same data.
        by: ``"rank"`` averages percentile ranks within the day; ``"zscore"`` averages
            (score - mean) / standard deviation of the day, 0 if all scores of the day are equal.

    Returns:
        A score table: ``date``, ``symbol``, ``split``, ``score``, ``return``.

    Raises:
        InputError: There is only one run, or two runs have no date and symbol in common or
            different returns of one.
    """
    if len(runs) < 2:
        raise InputError(f"an ensemble needs at least two runs, got {len(runs)}")
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
                f"{date:%Y-%m-%d}: an ensemble needs runs with the same data and holding period"
            )
    mean = average(joined.filter(like="score "), by)
    return joined.assign(score=mean).reset_index()[[*keys, "score", "return"]]


def average(scores: pd.DataFrame, by: str) -> "pd.Series[float]":
    """Standardise each column within the day and return the mean over columns.

    Args:
        scores: One column per run; one of the index levels is ``date``.
        by: ``"rank"`` or ``"zscore"``, see `average_scores`.
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
    """Write a run folder whose scores are the average of the scores of other runs.

    ``config.yaml`` is a copy of that of the first run; its key ``ensemble`` lists the runs and
    their models. If days were added to the data between two runs, their common days are averaged.

    Returns:
        The metrics of ``metrics.json``.

    Raises:
        InputError: The runs cannot be averaged, see `average_scores`, one is given twice or would
            be overwritten, or the data have changed since one of them.
    """
    _check_members(folder, runs)
    data = _same_data(runs)
    scores = average_scores(runs, by)
    config = runs[0].config.copy()
    config.folder = str(folder)
    members = {
        "by": by,
        "runs": [str(run.folder) for run in runs],
        "models": [name_model(run) for run in runs],
    }
    OmegaConf.update(config, "ensemble", members, force_add=True)
    prepare_folder(config)
    metrics = {
        f"{LOG_PREFIX[str(split)]}/{name}": value
        for split, table in scores.groupby("split")
        for name, value in summary(table).items()
    }
    write_json(folder / PROVENANCE, {"data": data_provenance(data)})
    write_results(folder, metrics, scores)
    report(config, metrics, scores, data, data.concepts)
    return metrics


def _check_members(folder: Path, runs: Sequence[Run]) -> None:
    """Raise an `InputError` if a run is given twice or lies in the folder of the ensemble."""
    places = [run.folder.resolve() for run in runs]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise InputError(f"{runs[number].folder} is given twice: an ensemble needs other runs")
        if folder.resolve() in (place, *place.parents) and (folder / "config.yaml").is_file():
            raise InputError(
                f"{runs[number].folder} is a member of the ensemble and would be overwritten: "
                "choose another folder as out"
            )


def _same_data(runs: Sequence[Run]) -> MarketDataModule:
    """Read the data; those of each run may differ by days added since, and by what models read.

    Models may read other indices and columns; `average_scores` compares the returns.
    """
    data: MarketDataModule = instantiate(runs[0].config.datamodule)
    data.setup()
    for run in runs:
        remedy = "an ensemble needs runs on the same data"
        record, folder = run.provenance.get("data", {}), str(run.folder)
        check_data(record, data.fingerprint, folder, remedy=remedy, shared_only=True)
    return data
