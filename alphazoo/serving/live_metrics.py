"""Live metrics of the versions of a model: their daily scores, judged once days are labelled."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from alphazoo.config import instantiate
from alphazoo.data.scores import join_returns
from alphazoo.errors import InputError
from alphazoo.metrics import daily_ic
from alphazoo.serving.score_file import CHECKPOINT, DATE, SYMBOL, read_score_file
from alphazoo.tracking import registry


def live_metrics(
    name: str, versions: Mapping[int, Any], scores: Path, **settings: Any
) -> pd.DataFrame:
    """Judge the scores that versions of a model gave to days that were new to them.

    Scores belong to a version whose checkpoint gave them. Market and label are those of the newest
    version with scores.

    Args:
        name: Name of the model.
        versions: Its versions by number.
        scores: A file of live scores, see `alphazoo.serving.score_file`.
        settings: Arguments of `alphazoo.tracking.registry.fetch`, which opens that version.

    Returns:
        Columns ``live/days`` (labelled days), ``live/ic`` and ``live/rank_ic`` (means over these
        days), by number of the version, for those with scores.

    Raises:
        InputError: The file has no scores of these versions, or the market lacks their days.
    """
    table = read_score_file(scores)
    parts = {number: _new_scores(table, found.tags) for number, found in versions.items()}
    parts = {number: part for number, part in parts.items() if len(part)}
    if not parts:
        raise InputError(
            f"{scores} has no scores that a version of {name} gave to days after those it has seen"
        )
    with tempfile.TemporaryDirectory() as folder:
        run, _ = registry.fetch(f"models:/{name}/{max(parts)}", Path(folder), **settings)
    market, label = instantiate(run.config.data.market)(), instantiate(run.config.label)
    rows = {}
    for number, part in parts.items():
        daily = daily_ic(join_returns(part, market, label))[["ic", "rank_ic"]].dropna()
        rows[number] = {"live/days": len(daily), **daily.mean().add_prefix("live/")}
    return pd.DataFrame.from_dict(rows, orient="index")


def _new_scores(table: pd.DataFrame, tags: Mapping[str, str]) -> pd.DataFrame:
    """Return the scores by the checkpoint of a version, of days after those that it has seen."""
    digest, seen = tags.get(registry.CHECKPOINT), tags.get(registry.SEEN)
    if not digest or not seen:  # registered by an earlier version of this package
        return table[:0]
    rows = table[(table[CHECKPOINT] == digest) & (table[DATE] > pd.Timestamp(seen))]
    return rows.drop_duplicates([DATE, SYMBOL], keep="last")
