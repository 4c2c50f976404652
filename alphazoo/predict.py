"""Scores of the newest day, or of any days, by a finished run."""

import logging
from collections.abc import Mapping, Sequence
from datetime import date as Date
from typing import Any

import lightning as L
import pandas as pd

from alphazoo.allocator import KeepFreedMemory
from alphazoo.config import instantiate
from alphazoo.data.check import GAP
from alphazoo.data.fingerprint import CHANGED, UNKNOWN
from alphazoo.data.market import Market
from alphazoo.data.module import MarketDataModule
from alphazoo.data.segments import bound
from alphazoo.ensemble import average
from alphazoo.errors import InputError, shorten
from alphazoo.files import read_checkpoint
from alphazoo.fit import score_table
from alphazoo.lineage import last_day_seen
from alphazoo.models.base import StockModel
from alphazoo.runs import Run
from alphazoo.settings import check_settings

log = logging.getLogger(__name__)

LATEST = "latest"
NEEDED = ("seed", "data", "features", "scaler", "label", "datamodule", "model", "trainer")
MAX_AGE = GAP  # calendar days


def predict(
    run: Run, *, date: str | None = None, first: str | None = None, last: str | None = None
) -> pd.DataFrame:
    """Score days with the weights and the scaling of a run; no label is needed.

    Args:
        run: The run; its config says where the data are, which may have grown since.
        date: One day, or ``"latest"``: the newest of the data, which must be whole and no older
            than `MAX_AGE`. The default without ``first`` and ``last``.
        first: The first of several days.
        last: The last of them.

    Returns:
        Columns ``date``, ``symbol``, ``score``, sorted by date and symbol.

    Raises:
        InputError: There is no such day, the newest is old or lacks most of its members, or the
            run has no checkpoint, or one that was made with other features.
    """
    if date and (first or last):
        raise InputError(f"give date, or from and to: got date={date}, from={first}, to={last}")
    for name, day in {"date": None if date == LATEST else date, "from": first, "to": last}.items():
        bound(day, "left", name)
    if "ensemble" in run.config:
        members = [Run.open(member, run.overrides) for member in run.config.ensemble.runs]
        tables = [predict(member, date=date, first=first, last=last) for member in members]
        keyed = [table.set_index(["date", "symbol"])["score"] for table in tables]
        joined = pd.concat(keyed, axis=1, join="inner", keys=range(len(keyed)))
        return average(joined, run.config.ensemble.by).rename("score").reset_index()
    check_settings(run.config, *NEEDED)
    run = run.newest
    checkpoint = run.checkpoint
    content = read_checkpoint(checkpoint)
    seen = last_day_seen(content)
    L.seed_everything(run.config.seed, workers=True, verbose=False)
    data: MarketDataModule = instantiate(run.config.datamodule)
    data.setup()
    market = data.market
    _compare_data(run, content.get("MarketDataModule", {}).get("data", {}), data)
    if first or last:
        rows: Sequence[int] = market.rows(first, last)
    elif (date or LATEST) == LATEST:
        rows = [newest_day(market)]
    else:
        rows = [_row(market, str(date))]
    data.predict_days(rows)
    start = f"{market.dates[rows[0]]:%Y-%m-%d}"
    if seen is not None and start <= seen:
        log.warning("the run was trained or chosen by days up to %s: those are no forecasts", seen)

    model: StockModel = instantiate(run.config.model)
    trainer: L.Trainer = instantiate(
        run.config.trainer,
        devices=1,  # also of a run that had several
        num_nodes=1,
        strategy="auto",
        logger=False,
        callbacks=[KeepFreedMemory()],
        enable_checkpointing=False,
    )
    scores = score_table(trainer, model, data, "predict", ckpt_path=str(checkpoint))
    return scores[["date", "symbol", "score"]]


def _compare_data(run: Run, record: Mapping[str, Any], data: MarketDataModule) -> None:
    """Warn where the data that a run was trained on are others now; new days are not others."""
    found = data.fingerprint.compare(record)
    if found.kind == UNKNOWN:
        log.warning("%s does not say which data it was trained on: not compared", run.folder)
    if found.kind == CHANGED:
        log.warning(
            "the data have changed since %s was trained: in market %r %s; scores of days that the "
            "run has scored already may be others now",
            run.folder,
            data.market.name,
            found.what,
        )


def newest_day(market: Market) -> int:
    """Row of the newest day, if a score of it is of use today.

    Raises:
        InputError: The day is older than `MAX_AGE`, half or more of its members have no price,
            all of them repeat that of the day before, or an index has no close.
    """
    row = len(market.dates) - 1
    day = f"{market.dates[row]:%Y-%m-%d}"
    age = (Date.today() - market.dates[row].date()).days
    if age > MAX_AGE:
        raise InputError(
            f"the newest day of market {market.name!r} is {day}, {age} days ago: are the data up "
            f"to date? date={day} scores it all the same"
        )
    members, present = market.members[row], market.present[row]
    if 2 * int(present.sum()) <= int(members.sum()):
        raise InputError(
            f"{day}: {int(present.sum())} of {int(members.sum())} members of market "
            f"{market.name!r} have a price: is the day complete? date={day} scores it all the same"
        )
    close = market.field("close")
    if row and bool((close[row] == close[row - 1])[present].all()):
        raise InputError(
            f"{day}: every price of market {market.name!r} is that of the day before; date={day} "
            "scores it all the same"
        )
    late = [name for name, series in market.indices.items() if not series["close"][row].isfinite()]
    if late:
        raise InputError(
            f"{day}: no close of {shorten(late)} (data.indices) in market {market.name!r}: is the "
            f"day complete? date={day} scores it all the same"
        )
    return row


def _row(market: Market, date: str) -> int:
    bound(date, "left", "date")
    rows = market.rows(date, date)
    if len(rows) != 1:
        raise InputError(f"date is one day, YYYY-MM-DD, got {date}")
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
