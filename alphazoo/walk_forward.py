"""Walk forward: a training for every stretch of the test segment; its scores, joined."""

import logging
from collections.abc import Mapping
from itertools import count, pairwise, takewhile
from pathlib import Path
from typing import Any, cast

import pandas as pd
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from alphazoo.config import check_complete, instantiate
from alphazoo.data.module import MarketDataModule
from alphazoo.data.segments import Segment, bound
from alphazoo.errors import InputError
from alphazoo.files import write_table
from alphazoo.fit import begin_folder, fit, score_table
from alphazoo.metrics import summary

log = logging.getLogger(__name__)

DAY = pd.Timedelta(days=1)

Outcome = tuple[dict[str, float], pd.DataFrame, MarketDataModule]  # figures, scores, data


def stretches(
    dates: pd.DatetimeIndex,
    segments: Mapping[str, Segment],
    *,
    months: int,
    rolling: bool,
    shortest: int,
) -> list[dict[str, list[str]]]:
    """Cut the test segment, and give each stretch the train and valid days before it.

    Args:
        dates: [D], the calendar.
        segments: ``[from, to]`` of ``train``, ``valid`` and ``test``: those of the first stretch.
        months: Length of a stretch; train and valid end so much later for every next one.
        rolling: Whether train begins later, too.
        shortest: A last stretch with fewer days belongs to the one before.

    Returns:
        ``[from, to]`` of each segment by name, for each stretch.

    Raises:
        InputError: The length is below 1, or an end between the segments is open.
    """
    if months < 1:
        raise InputError(f"walk_forward.months is 1 or more, got {months}")
    known = _ends(dates, segments)

    def later(day: pd.Timestamp, count: int) -> pd.Timestamp:
        return day + pd.DateOffset(months=months * count)

    first, last = known["test"]
    stop = min(last, dates[-1]) + DAY
    starts = [*takewhile(lambda day: day < stop, (later(first, n) for n in count()))]
    if len(starts) > 1 and ((dates >= starts[-1]) & (dates < stop)).sum() < shortest:
        starts.pop()
    found = []
    for index, (start, after) in enumerate(pairwise([*starts, stop])):
        moved = {
            name: [later(known[name][0], index), later(known[name][1] + DAY, index) - DAY]
            for name in ("train", "valid")
        }
        if not rolling:
            moved["train"][0] = known["train"][0]
        moved["test"] = [start, after - DAY]
        found.append({name: [f"{day:%Y-%m-%d}" for day in pair] for name, pair in moved.items()})
    return found


def _ends(
    dates: pd.DatetimeIndex, segments: Mapping[str, Segment]
) -> dict[str, list[pd.Timestamp]]:
    """First and last day of each segment; outer ends that are open are those of the calendar."""
    ends = {
        name: [bound(end, side, name) for end, side in zip(pair, ("left", "right"), strict=True)]
        for name, pair in segments.items()
    }
    ends["train"][0] = ends["train"][0] or dates[0]
    ends["test"][1] = ends["test"][1] or dates[-1]
    for name, pair in ends.items():
        if None in pair:
            raise InputError(f"walk_forward needs both ends of data.{name}, one of them is null")
    return {name: [day.normalize() for day in pair if day] for name, pair in ends.items()}


def walk_forward(config: DictConfig) -> Outcome:
    """Train once for every stretch of the test segment, on the days before it.

    Each training is a run in a folder of its own, ``windows/<first test day>``; ``windows.csv``
    compares them. No day of the test segment is left out between two stretches: a label that
    reaches into the next one teaches nobody.

    Returns:
        Figures: ``val/...`` are means over the trainings, ``test/...`` those of all test days; the
        score table of the test days; the data of the last training.

    Raises:
        InputError: As `stretches` and `alphazoo.fit.fit`.
    """
    check_complete(config)
    market = instantiate(config.datamodule.market)()
    segments = {name: config.data[name] for name in ("train", "valid", "test")}
    settings = config.walk_forward
    cuts = stretches(
        market.dates,
        cast("dict[str, Segment]", OmegaConf.to_container(OmegaConf.create(segments))),
        months=settings.months,
        rolling=settings.rolling,
        shortest=config.label.sell + 1,
    )
    folder = Path(config.folder)
    begin_folder(config)
    windows: list[dict[str, Any]] = []
    tables, collected = [], []
    best: str | None = None
    for cut in cuts:
        told = config.copy()
        told.folder = str(folder / "windows" / cut["test"][0])
        told.walk_forward = {}
        told.data.update(cut)
        told.data.test = [cut["test"][0], None]  # of the later days none is looked at
        log.info("window %d of %d: test %s to %s", len(windows) + 1, len(cuts), *cut["test"])
        run = fit(told, market=market, start=best if settings.warm_start else None)
        best = run.best
        score_table(run.trainer, run.model, run.data, "valid", ckpt_path=best)
        valid = summary(run.model.scores("val"))
        run.data.predict_days(market.rows(*cut["test"]))
        tables.append(score_table(run.trainer, run.model, run.data, "predict", ckpt_path=best))
        collected.append(run.model.scores("predict"))
        test = summary(collected[-1])
        windows.append(
            {f"{name} {end}": cut[name][end == "to"] for name in cut for end in ("from", "to")}
            | {f"val/{name}": value for name, value in valid.items()}
            | {f"test/{name}": value for name, value in test.items()}
        )
    compared = pd.DataFrame(windows)
    rank_zero_only(write_table)(compared, folder / "windows.csv")
    figures = {f"val/{name}": float(compared[f"val/{name}"].mean()) for name in valid}
    figures |= {f"test/{name}": value for name, value in summary(pd.concat(collected)).items()}
    return figures, pd.concat(tables, ignore_index=True).assign(split="test"), run.data
