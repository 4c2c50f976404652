"""Update: a child of a run learns the days since, from its parent's weights.

The child is a run of its own. Its newest labelled days are neither trained on nor used to stop, by
the child or by its parent, so that the two can be compared on them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig, OmegaConf

from alphazoo.config import instantiate
from alphazoo.data.lineage import last_day_seen
from alphazoo.data.module import MarketDataModule
from alphazoo.data.scores import join_returns
from alphazoo.errors import InputError
from alphazoo.evaluation.signals import newey_west_lags, t_statistic
from alphazoo.files import write_json
from alphazoo.market.market import Market
from alphazoo.market.periods import parse_bound
from alphazoo.metrics import daily_ic
from alphazoo.models.checkpoint import ABOUT, DIGEST, read_checkpoint
from alphazoo.runs.run import Run
from alphazoo.runs.settings import check_settings
from alphazoo.serving.predict import predict

UPDATE = "update.json"


@dataclass(frozen=True)
class Comparison:
    """Rank ICs of two runs on the same days.

    Attributes:
        days: Number of days.
        first: First day.
        last: Last day.
        old: Mean rank IC of the older run.
        new: Mean rank IC of the newer run.
        error: Newey-West standard error of the mean difference.
    """

    days: int
    first: str
    last: str
    old: float
    new: float
    error: float

    @property
    def difference(self) -> float:
        """Rank IC of the newer run minus that of the older run, in standard errors."""
        gain = self.new - self.old
        return gain / self.error if self.error > 0 else float(np.sign(gain)) * np.inf


def plan_update(
    run: Run,
    *,
    until: str | None = None,
    replay: float = 1.0,
    valid_days: int = 20,
    test_days: int = 20,
    folder: str | None = None,
) -> DictConfig:
    """Return the config of a child of a run.

    Args:
        run: The parent; of a walk forward, its last window is.
        until: Last day whose label may be used; by default the newest.
        replay: Share of the parent's training and validation days, the newest of them, that the
            child trains on again, above 0.
        valid_days: Number of days that stop the child's training.
        test_days: Number of newest labelled days, on which the two are compared.
        folder: Folder of the child; by default beside the parent, with the last day in its name.

    Raises:
        InputError: There are too few new days, or the run cannot be updated.
    """
    if "ensemble" in run.config:
        raise InputError(f"{run.folder} is an ensemble: update its members, and average them")
    for name, days in {"valid_days": valid_days, "test_days": test_days}.items():
        if days < 1:
            raise InputError(f"{name}={days}: expected at least 1")
    if not 0 < replay <= 1:
        raise InputError(f"replay={replay}: expected a share above 0 and at most 1")
    check_settings(run.config)
    parent, config = run.last_window, run.last_window.config.copy()
    checkpoint = read_checkpoint(parent.checkpoint)
    data: MarketDataModule = instantiate(config.datamodule)
    market, label = data.read_fingerprint().market, data.label
    stop = market.rows(None, until)[-1] + 1 if until else len(market.dates)
    old, first_new = _old_days(checkpoint, market)
    gap = label.sell + data.embargo
    needed = valid_days + test_days + 2 * gap + label.sell
    if stop - first_new <= needed:
        raise InputError(
            f"{run.folder} has seen days up to {market.dates[first_new - 1]:%Y-%m-%d}, and "
            f"{max(0, stop - first_new)} days follow until {market.dates[stop - 1]:%Y-%m-%d}: an "
            f"update needs more than {needed}, of which {valid_days} stop training (valid_days) "
            f"and {test_days} compare (test_days)"
        )
    # the labels of the last `sell` days of each segment, and the embargo, are left out of it
    test = stop - test_days - label.sell
    valid = test - valid_days - gap
    train = first_new - max(1, round(replay * len(old)))
    ends = {"train": (train, valid), "valid": (valid, test), "test": (test, stop)}
    for name, (start, end) in ends.items():
        config.data[name] = [f"{market.dates[row]:%Y-%m-%d}" for row in (start, end - 1)]
    last = config.data.test[1]
    config.folder = folder or str(run.folder.with_name(f"{run.folder.name}-until-{last}"))
    about = {"run": str(run.folder), "checkpoint": str(parent.checkpoint), "replay": float(replay)}
    about["digest"] = str(checkpoint[ABOUT].get(DIGEST, ""))
    OmegaConf.update(config, "child_of", about, force_add=True)
    config.walk_forward, config.init_from, config.ckpt = {}, None, "last"
    return config


def _old_days(checkpoint: dict[str, Any], market: Market) -> tuple[range, int]:
    """Return the rows that a checkpoint was trained and validated on, and the first new one."""
    seen = last_day_seen(checkpoint)
    days = checkpoint.get("MarketDataModule", {}).get("days")
    if seen is None or not days:
        raise InputError("the checkpoint does not record its days, so they cannot be continued")
    rows = market.rows(days["train"][0], seen)
    return rows, rows.stop


def compare_runs(old: Run, new: Run, *, first: str, last: str) -> Comparison:
    """Compare the rank ICs of two runs on days that neither has seen.

    Raises:
        InputError: A run has seen one of the days, or there is no common day.
    """
    start = parse_bound(first, "left", "from")
    daily = []
    for run in (old, new):
        seen = last_day_seen(read_checkpoint(run.last_window.checkpoint))
        if seen is None or start is None or pd.Timestamp(seen) >= start:
            raise InputError(f"{run.folder} has seen days up to {seen}: {first} is not new to it")
        market: Market = instantiate(run.config.data.market)()
        table = join_returns(
            predict(run, first=first, last=last), market, instantiate(run.config.label)
        )
        daily.append(daily_ic(table)["rank_ic"])
    both = pd.concat(daily, axis=1, keys=["old", "new"]).dropna()
    if both.empty:
        raise InputError(f"no day from {first} to {last} has a rank IC of both runs")
    gain = (both["new"] - both["old"]).to_numpy()
    t = t_statistic(gain, newey_west_lags(len(gain)))
    error = abs(gain.mean() / t) if np.isfinite(t) and t else 0.0
    start_day, end_day = (f"{both.index[place]:%Y-%m-%d}" for place in (0, -1))
    old_ic, new_ic = (float(both[name].mean()) for name in ("old", "new"))
    return Comparison(len(both), start_day, end_day, old_ic, new_ic, error)


def write_update(child: Run, parent: Run) -> Comparison:
    """Compare a trained child with its parent on the child's test days; write ``update.json``."""
    days = child.config.data
    found = compare_runs(parent, child, first=str(days.test[0]), last=str(days.test[1]))
    content = {
        "child_of": OmegaConf.to_container(child.config.child_of),
        **{name: [str(day) for day in days[name]] for name in ("train", "valid", "test")},
        "compared_days": found.days,
        "rank_ic_parent": found.old,
        "rank_ic_child": found.new,
        "standard_error": found.error,
    }
    write_json(child.folder / UPDATE, content)
    return found
