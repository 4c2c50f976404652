"""Score the newest day, or any other days, with a finished run."""

import logging
from collections.abc import Mapping, Sequence
from datetime import date as Date
from typing import Any

import lightning as L
import pandas as pd

from alphazoo.allocator import KeepFreedMemory
from alphazoo.config import instantiate
from alphazoo.data.lineage import last_day_seen
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError, shorten
from alphazoo.evaluation.ensemble import average
from alphazoo.market.check import GAP
from alphazoo.market.fingerprint import CHANGED, UNKNOWN
from alphazoo.market.market import Market
from alphazoo.market.periods import parse_bound
from alphazoo.models.base import StockModel
from alphazoo.models.checkpoint import read_checkpoint
from alphazoo.runs.run import Run
from alphazoo.runs.settings import check_settings
from alphazoo.training.fit import score_table

log = logging.getLogger(__name__)

LATEST = "latest"
NEEDED = ("seed", "data", "features", "scaler", "label", "datamodule", "model", "trainer")
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
    if date and (first or last):
        raise InputError(
            f"expected either date or from and to, got date={date}, from={first}, to={last}"
        )
    for name, day in {"date": None if date == LATEST else date, "from": first, "to": last}.items():
        parse_bound(day, "left", name)
    if "ensemble" in run.config:
        tables = [predict(member, date=date, first=first, last=last) for member in run.members]
        keyed = [table.set_index(["date", "symbol"])["score"] for table in tables]
        joined = pd.concat(keyed, axis=1, join="inner", keys=range(len(keyed)))
        return average(joined, run.config.ensemble.by).rename("score").reset_index()
    check_settings(run.config, *NEEDED)
    run = run.last_window
    checkpoint = run.checkpoint
    content = read_checkpoint(checkpoint)
    seen = last_day_seen(content)
    L.seed_everything(run.config.seed, workers=True, verbose=False)
    data: MarketDataModule = instantiate(run.config.datamodule)
    data.setup()
    market = data.market
    warn_of_changed_data(run, content.get("MarketDataModule", {}).get("data", {}), data)
    if first or last:
        rows: Sequence[int] = market.rows(first, last)
    elif (date or LATEST) == LATEST:
        rows = [newest_day(market)]
    else:
        rows = [_row(market, str(date))]
    data.predict_days(rows)
    start = f"{market.dates[rows[0]]:%Y-%m-%d}"
    if seen is not None and start <= seen:
        log.warning("the run has seen days up to %s: scores of these days are not forecasts", seen)

    model: StockModel = instantiate(run.config.model)
    trainer: L.Trainer = instantiate(
        run.config.trainer,
        devices=1,  # even if training used several
        num_nodes=1,
        strategy="auto",
        logger=False,
        callbacks=[KeepFreedMemory()],
        enable_checkpointing=False,
    )
    scores = score_table(trainer, model, data, "predict", ckpt_path=str(checkpoint))
    return scores[["date", "symbol", "score"]]


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


def _row(market: Market, date: str) -> int:
    parse_bound(date, "left", "date")
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
