"""Score the newest day, or any other days, with a finished run."""

import logging
from collections.abc import Mapping, Sequence
from datetime import date as Date
from typing import Any

import pandas as pd

from alphazoo.data.lineage import last_day_seen
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError, shorten
from alphazoo.evaluation.ensemble import average
from alphazoo.market.check import GAP
from alphazoo.market.fingerprint import CHANGED, UNKNOWN
from alphazoo.market.market import Market
from alphazoo.market.periods import parse_bound
from alphazoo.runs.provenance import settings_digest
from alphazoo.runs.run import Run
from alphazoo.serving.load import join_digests, load_run
from alphazoo.serving.score_file import (
    CHECKPOINT,
    COLUMNS,
    DATA,
    DATE,
    SCORE,
    SETTINGS,
    SYMBOL,
    VERSION,
)

log = logging.getLogger(__name__)

LATEST = "latest"
MAX_AGE = GAP  # calendar days


def predict(
    run: Run, *, date: str | None = None, first: str | None = None, last: str | None = None
) -> pd.DataFrame:
    """Score days with the weights and the scaling statistics of a run; labels are not needed.

    Args:
        run: The run; the data that its config names may have grown since training.
        date: One day, or ``"latest"`` for the newest day of the data, which must be complete and at
            most `MAX_AGE` days old. Without ``first`` and ``last``, the default is ``"latest"``.
        first: The first of several days.
        last: The last of several days.

    Returns:
        Columns ``date``, ``symbol``, ``score``, sorted by date and symbol.

    Raises:
        InputError: There is no such day, the newest day is old or incomplete, or the run has no
            checkpoint or one with other features.
    """
    return identify(run, date=date, first=first, last=last)[[DATE, SYMBOL, SCORE]]


def identify(
    run: Run,
    *,
    date: str | None = None,
    first: str | None = None,
    last: str | None = None,
    version: str = "",
) -> pd.DataFrame:
    """Score days as `predict` does, and state which model and data gave each score.

    Args:
        run: See `predict`.
        date: See `predict`.
        first: See `predict`.
        last: See `predict`.
        version: Name of the version; by default the name of the run's folder.

    Returns:
        The columns of `alphazoo.serving.score_file.COLUMNS`, sorted by date and symbol.
    """
    check_days(date, first, last, words=[LATEST])
    version = version or run.folder.resolve().name
    if "ensemble" in run.config:
        return _average(run, date=date, first=first, last=last, version=version)
    loaded = load_run(run)
    data, market = loaded.data, loaded.data.market
    warn_of_changed_data(run, loaded.content.get("MarketDataModule", {}).get("data", {}), data)
    if first or last:
        rows: Sequence[int] = market.rows(first, last)
    elif (date or LATEST) == LATEST:
        rows = [newest_day(market)]
    else:
        rows = [find_day(market, str(date))]
    data.predict_days(rows)
    seen, start = last_day_seen(loaded.content), f"{market.dates[rows[0]]:%Y-%m-%d}"
    if seen is not None and start <= seen:
        log.warning("the run has seen days up to %s: scores of these days are not forecasts", seen)
    scores = loaded.score("predict")
    prints = {market.dates[row]: data.fingerprint.upto(row) for row in data.segments["predict"]}
    scores[VERSION], scores[CHECKPOINT] = version, loaded.digest
    scores[SETTINGS] = settings_digest(run.config)
    scores[DATA] = scores[DATE].map(prints)
    return scores[[*COLUMNS]]


def _average(run: Run, *, version: str, **days: str | None) -> pd.DataFrame:
    """Average the scores of the members of an ensemble, on the stocks that all of them score."""
    tables = [identify(member, version=version, **days) for member in run.members]
    keyed = [table.set_index([DATE, SYMBOL]) for table in tables]
    joined = pd.concat(
        [table[SCORE] for table in keyed], axis=1, join="inner", keys=range(len(keyed))
    )
    scores = average(joined, run.config.ensemble.by).rename(SCORE).to_frame()
    scores[VERSION] = version
    scores[CHECKPOINT] = join_digests([table[CHECKPOINT].iloc[0] for table in tables])
    scores[SETTINGS], scores[DATA] = settings_digest(run.config), keyed[0][DATA]
    return scores.reset_index()[[*COLUMNS]]


def warn_of_changed_data(run: Run, record: Mapping[str, Any], data: MarketDataModule) -> None:
    """Warn if the data have changed since the run was trained; added days are not a change."""
    found = data.fingerprint.compare(record)
    if found.kind == UNKNOWN:
        log.warning("%s does not record its data, so they are not compared", run.folder)
    if found.kind == CHANGED:
        log.warning(
            "the data have changed since %s was trained: in market %r %s; scores of earlier days "
            "may differ from those of the run",
            run.folder,
            data.market.name,
            found.what,
        )


def newest_day(market: Market) -> int:
    """Return the calendar row of the newest day, after checking that it is recent and complete.

    Raises:
        InputError: The day is older than `MAX_AGE`, at least half of the members have no price, all
            prices repeat those of the previous day, or an index has no close.
    """
    row = len(market.dates) - 1
    day = f"{market.dates[row]:%Y-%m-%d}"
    age = (Date.today() - market.dates[row].date()).days
    if age > MAX_AGE:
        raise InputError(
            f"the newest day of market {market.name!r} is {day}, {age} days ago: are the data up "
            f"to date? date={day} scores it anyway"
        )
    members, present = market.members[row], market.present[row]
    if 2 * int(present.sum()) <= int(members.sum()):
        raise InputError(
            f"{day}: {int(present.sum())} of {int(members.sum())} members of market "
            f"{market.name!r} have a price: is the day complete? date={day} scores it anyway"
        )
    close = market.field("close")
    if row and bool((close[row] == close[row - 1])[present].all()):
        raise InputError(
            f"{day}: every price of market {market.name!r} repeats the previous day's; date={day} "
            "scores it anyway"
        )
    late = [name for name, series in market.indices.items() if not series["close"][row].isfinite()]
    if late:
        raise InputError(
            f"{day}: no close of {shorten(late)} (data.indices) in market {market.name!r}: is the "
            f"day complete? date={day} scores it anyway"
        )
    return row


def check_days(
    date: str | None, first: str | None, last: str | None, *, words: Sequence[str] = ()
) -> None:
    """Check the settings ``date``, ``from`` and ``to`` of a command before anything is read.

    Args:
        date: One day, or one of ``words``.
        first: The first of several days.
        last: The last of several days.
        words: What else ``date`` may be.

    Raises:
        InputError: A day is given in both ways, or is none.
    """
    if date and (first or last):
        raise InputError(
            f"expected either date or from and to, got date={date}, from={first}, to={last}"
        )
    for name, day in {"date": None if date in words else date, "from": first, "to": last}.items():
        parse_bound(day, "left", name)


def find_day(market: Market, date: str) -> int:
    """Return the calendar row of a day.

    Raises:
        InputError: It is a month or a year, or no day of the calendar.
    """
    rows = market.rows(date, date)
    if len(rows) != 1:
        raise InputError(f"date must be one day, YYYY-MM-DD, got {date}")
    return rows[0]


def print_ranking(scores: pd.DataFrame, count: int = 10) -> None:
    """Print the best and the worst stocks of the last day."""
    day = scores["date"].max()
    ranked = scores.loc[scores["date"] == day, ["symbol", "score"]]
    ranked = ranked.sort_values("score", ascending=False, ignore_index=True)
    ranked.index += 1
    ends = ranked if len(ranked) <= 2 * count else pd.concat([ranked[:count], ranked[-count:]])
    print(f"{day:%Y-%m-%d}, {len(ranked)} stocks")
    print(ends.to_string(float_format=lambda x: f"{x:.4f}"))
