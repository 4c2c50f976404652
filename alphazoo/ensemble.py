"""An ensemble: the scores of several runs, made comparable day by day and averaged."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf

from alphazoo.config import instantiate
from alphazoo.errors import InputError, check_choice
from alphazoo.fit import LOGGED_AS, begin_folder
from alphazoo.metrics import summary
from alphazoo.runs import Run
from alphazoo.train import report, write_results

METHODS = ("rank", "zscore")


def average_scores(runs: Sequence[Run], by: str) -> pd.DataFrame:
    """Average the scores of runs on the days and stocks that all of them scored.

    Args:
        runs: Two or more, on the same data.
        by: ``"rank"``: percentile rank among the stocks of the day; ``"zscore"``: (score - mean) /
            standard deviation of the day. A day of equal scores says nothing: 0.5, or 0.

    Returns:
        A score table: ``date``, ``symbol``, ``split``, ``score``, ``return``.

    Raises:
        InputError: There is only one run, two have no row in common, or different returns of one.
    """
    check_choice("method", by, METHODS)
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
    days = joined.filter(like="score ").groupby(level=["date", "split"])
    if by == "rank":
        scaled = days.rank(pct=True)
    else:
        scaled = (joined.filter(like="score ") - days.transform("mean")) / days.transform("std")
        scaled = scaled.where(days.transform("max") > days.transform("min"), 0.0)
    table = joined.assign(score=scaled.mean(axis=1)).reset_index()
    return table[[*keys, "score", "return"]]


def write_ensemble(folder: Path, runs: Sequence[Run], *, by: str) -> dict[str, float]:
    """Write the folder of a run whose scores are the average of those of others.

    ``config.yaml`` is that of the first run, with ``ensemble`` saying whose scores these are.

    Returns:
        The figures of ``metrics.json``.

    Raises:
        InputError: The runs cannot be averaged, see `average_scores`.
    """
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
    write_results(folder, metrics, scores)
    report(config, metrics, scores, instantiate(config.datamodule))
    return metrics
