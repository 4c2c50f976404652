"""Walk forward: a training for every stretch of the test segment; its scores, joined."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise, takewhile
from pathlib import Path
from typing import Any, cast

import pandas as pd
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from alphazoo.config import check_complete, instantiate
from alphazoo.data.market import Market
from alphazoo.data.module import MarketDataModule
from alphazoo.data.segments import Segment, bound
from alphazoo.errors import InputError
from alphazoo.facts import FACTS, settings_digest
from alphazoo.files import write_json, write_table
from alphazoo.fit import begin_folder, fit, name_rows, score_table
from alphazoo.metrics import summary
from alphazoo.resume import AFTER, changes
from alphazoo.runs import Run
from alphazoo.tracking import Tracker, describe

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


def walk_forward(config: DictConfig, trackers: Sequence[Tracker] = ()) -> Outcome:
    """Train once for every stretch of the test segment, on the days before it.

    Each training is a run in a folder of its own, ``windows/<first test day>``; ``windows.csv``
    compares them. No day of the test segment is left out between two stretches: a label that
    reaches into the next one teaches nobody. With ``ckpt=last`` trainings that have ended are not
    made again, and the one that was stopped goes on. To trackers all of it is one run, with figures
    ``window/...`` by number of the training, whose curves are in the logs of its own folder alone.

    Args:
        config: All that the run is told.
        trackers: See `alphazoo.tracking.tracked`.

    Returns:
        Figures: ``val/...`` are means over the trainings, ``test/...`` those of all test days; the
        score table of the test days; the data of the last training.

    Raises:
        InputError: As `stretches` and `alphazoo.fit.fit`, or ``ckpt`` is that of one training.
    """
    check_complete(config)
    if config.get("ckpt") not in (None, "last"):
        raise InputError(
            f"ckpt={config.ckpt} is of one training, and walk_forward makes several: ckpt=last "
            "goes on with those in the folder"
        )
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
    begin_folder(config, keep=config.get("ckpt") == "last")
    describe(trackers, folder)
    windows: list[Window] = []
    for cut in cuts:
        log.info("window %d of %d: test %s to %s", len(windows) + 1, len(cuts), *cut["test"])
        start = windows[-1].best if windows and settings.warm_start else None
        windows.append(_window(config, cut, market, start))
        for tracker in trackers:
            tracker.log_metrics(_figures(windows[-1], "window/"), len(windows))
    compared = pd.DataFrame([_compare(cut, w) for cut, w in zip(cuts, windows, strict=True)])
    rank_zero_only(write_table)(compared, folder / "windows.csv")
    names = [str(name) for name in compared if str(name).startswith("val/")]
    rows = pd.concat([window.rows["test"] for window in windows])
    figures = {name: float(compared[name].mean()) for name in names}
    figures |= {f"test/{name}": value for name, value in summary(rows).items()}
    tables = [name_rows(window.rows["test"], market, "test") for window in windows]
    made_of = Run.open(folder).newest.facts
    rank_zero_only(write_json)(folder / FACTS, {**made_of, "settings": settings_digest(config)})
    return figures, pd.concat(tables, ignore_index=True), windows[-1].data


@dataclass(frozen=True)
class Window:
    """One training of a walk forward.

    Attributes:
        rows: Scores of its valid and test days, see `alphazoo.models.base.StockModel.scores`.
        best: The checkpoint of its best epoch.
        data: Its days.
    """

    rows: dict[str, pd.DataFrame]
    best: str | None
    data: MarketDataModule


def _window(
    config: DictConfig, cut: dict[str, list[str]], market: Market, start: str | None
) -> Window:
    """Train and score a stretch, or take what an earlier process has finished of it."""
    told = config.copy()
    told.folder = str(Path(config.folder) / "windows" / cut["test"][0])
    told.walk_forward = {}
    told.data.update(cut)
    told.data.test = [cut["test"][0], None]  # of the later days none is looked at
    file = Path(told.folder) / "rows.parquet"
    if file.is_file() and not changes(file.parent, told, free=AFTER):
        data: MarketDataModule = instantiate(told.datamodule, market=market)
        data.setup()
        found = dict(iter(pd.read_parquet(file).groupby("split")))
        rows = {name: found[name].reset_index(drop=True) for name in ("valid", "test")}
        return Window(rows, str(file.parent / "checkpoints" / "best.ckpt"), data)
    run = fit(told, market=market, start=start)
    score_table(run.trainer, run.model, run.data, "valid", ckpt_path=run.best)
    run.data.predict_days(market.rows(*cut["test"]))
    score_table(run.trainer, run.model, run.data, "predict", ckpt_path=run.best)
    rows = {"valid": run.model.scores("val"), "test": run.model.scores("predict")}
    whole = [table.assign(split=name) for name, table in rows.items()]
    rank_zero_only(write_table)(pd.concat(whole, ignore_index=True), file)
    return Window(rows, run.best, run.data)


def _compare(cut: Mapping[str, Sequence[str]], window: Window) -> dict[str, Any]:
    """A row of ``windows.csv``."""
    ends = {f"{name} {end}": cut[name][end == "to"] for name in cut for end in ("from", "to")}
    return {**ends, **_figures(window)}


def _figures(window: Window, prefix: str = "") -> dict[str, float]:
    figures = {"val": summary(window.rows["valid"]), "test": summary(window.rows["test"])}
    return {
        f"{prefix}{split}/{name}": value
        for split in figures
        for name, value in figures[split].items()
    }
