"""Runs all monitors on a file of scores, and says which of them raise an alarm."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date as Date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alphazoo.config import instantiate
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError
from alphazoo.market.market import Market
from alphazoo.market.periods import parse_bound
from alphazoo.models.checkpoint import read_checkpoint, stated_digest
from alphazoo.runs.run import Run
from alphazoo.runs.settings import check_settings
from alphazoo.serving.monitor.inputs import (
    age,
    coverage,
    feature_drift,
    frozen_closes,
    frozen_features,
    missing_values,
    price_breaks,
)
from alphazoo.serving.monitor.limits import Limits
from alphazoo.serving.monitor.live import Live, choose_version
from alphazoo.serving.monitor.outputs import (
    identity,
    rank_stability,
    rank_stability_mean,
    score_drift,
    score_scale,
    turnover,
)
from alphazoo.serving.monitor.past import past
from alphazoo.serving.monitor.reference import Reference
from alphazoo.serving.monitor.results import ic, portfolio
from alphazoo.serving.score_file import VERSION, read_score_file

MONITORS: tuple[Callable[[Live], pd.DataFrame], ...] = (
    *(age, frozen_closes, price_breaks, coverage, missing_values, frozen_features, feature_drift),
    *(score_drift, score_scale, rank_stability, rank_stability_mean, turnover, identity),
    *(ic, portfolio),
)
NEEDED = ("seed", "data", "features", "scaler", "label", "datamodule", "model")
OK, ALARM, WAITING = "ok", "alarm", "waiting"


@dataclass(frozen=True, eq=False)
class Monitoring:
    """The outcome of the monitors.

    Attributes:
        live: What was monitored.
        table: The readings of all monitors, see `alphazoo.serving.monitor.readings`.
        since: First day whose alarms count.
    """

    live: Live
    table: pd.DataFrame
    since: pd.Timestamp

    @property
    def summary(self) -> dict[str, Any]:
        """The content of ``monitor.json``."""
        live, states = self.live, self.states
        alarms = [name for name, state in states.items() if state["status"] == ALARM]
        return {
            "status": ALARM if alarms else OK,
            "alarms": alarms,
            "run": str(live.run.folder),
            "version": str(live.table[VERSION].iloc[0]),
            "day": f"{live.dates[live.scored[-1]]:%Y-%m-%d}",
            "since": f"{self.since:%Y-%m-%d}",
            "today": f"{live.today:%Y-%m-%d}",
            "scored_days": len(live.scored),
            "monitors": states,
        }

    @property
    def states(self) -> dict[str, dict[str, Any]]:
        """The status, newest value, limits and number of alarms of each monitor, by name."""
        return {
            str(name): self._state(rows) for name, rows in self.table.groupby("monitor", sort=False)
        }

    def _state(self, rows: pd.DataFrame) -> dict[str, Any]:
        known = rows[rows["value"].notna()]
        recent = known[(known["date"] >= self.since) & known["alarm"]]
        shown = (recent if len(recent) else known if len(known) else rows).iloc[-1]
        detail = str(shown["detail"])
        if not len(known) and not detail:
            detail = f"not known yet after {len(self.live.scored)} scored days"
        return {
            "status": ALARM if len(recent) else OK if len(known) else WAITING,
            "date": f"{shown['date']:%Y-%m-%d}",
            "value": float(shown["value"]),
            "low": float(shown["low"]),
            "high": float(shown["high"]),
            "detail": detail,
            "alarm_days": int(rows["alarm"].sum()),
            "alarms": episodes(rows["alarm"].to_numpy()),
        }


def episodes(alarm: "np.ndarray[Any, np.dtype[np.bool_]]") -> int:
    """Return the number of runs of consecutive days with an alarm."""
    return int(np.diff(alarm.astype(int), prepend=0).clip(min=0).sum())


def monitor(
    run: Run,
    scores: Path,
    folder: Path,
    limits: Limits,
    *,
    version: str | None = None,
    today: str | None = None,
    since: str | None = None,
    accept: bool = False,
    market: Market | None = None,
) -> Monitoring:
    """Run the monitors.

    Args:
        run: The run that gave the scores; the data that its config names may have grown since.
        scores: File of scores, see `alphazoo.serving.score_file`.
        folder: Folder that remembers the days monitored so far.
        limits: The limits.
        version: The version to monitor; by default the newest by the run's checkpoint.
        today: The day on which the monitors run; by default the current day.
        since: First day whose alarms count; by default the newest scored day.
        accept: Accept a past that has changed, see `alphazoo.serving.monitor.past.past`.
        market: The market, if it has been read already.

    Raises:
        InputError: The run has no reference, or the scores are not of this run.
    """
    if "ensemble" in run.config:
        raise InputError(f"{run.folder} is an ensemble: monitor the scores of its members")
    check_settings(run.config, *NEEDED)
    bounds = {"today": today or f"{Date.today():%Y-%m-%d}", "since": since}
    now, first = (parse_bound(day, "left", name) for name, day in bounds.items())
    assert now is not None  # a text gives a day
    reference = Reference.read(run.folder)
    content = read_checkpoint(run.last_window.checkpoint)
    digest = stated_digest(content)
    table = choose_version(read_score_file(scores), run, digest, scores, version)
    if table["date"].max() > now:
        raise InputError(
            f"today={now:%Y-%m-%d}, but the newest scores of {scores} are of "
            f"{table['date'].max():%Y-%m-%d}"
        )
    live = Live.of(run, digest, load_data(run, content, market), table, limits, reference, now)
    folder.mkdir(parents=True, exist_ok=True)
    found = [measure(live) for measure in MONITORS]
    found.append(past(live, folder, accept=accept))
    readings = pd.concat(found, ignore_index=True)
    return Monitoring(live, readings, first or live.dates[live.scored[-1]])


def load_data(
    run: Run, checkpoint: Mapping[str, Any], market: Market | None = None
) -> MarketDataModule:
    """Read the data of a run as they are now, with the statistics of its checkpoint."""
    other = {} if market is None else {"market": market}
    data: MarketDataModule = instantiate(run.last_window.config.datamodule, **other)
    data.load_state_dict(checkpoint["MarketDataModule"])
    return data
