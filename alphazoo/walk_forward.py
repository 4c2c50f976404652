"""Walk forward: a training for every stretch of the test segment; its scores, joined."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from alphazoo.config import instantiate
from alphazoo.data.market import Market
from alphazoo.data.module import MarketDataModule
from alphazoo.data.segments import Segment
from alphazoo.data.stretches import stretches
from alphazoo.errors import InputError
from alphazoo.facts import take_facts
from alphazoo.files import write_table
from alphazoo.fit import begin_folder, fit, name_rows, score_table
from alphazoo.metrics import summary
from alphazoo.resume import AFTER, changes, check_same
from alphazoo.runs import Run
from alphazoo.settings import check_settings
from alphazoo.tracking import Tracker, describe

log = logging.getLogger(__name__)

Outcome = tuple[dict[str, float], pd.DataFrame, MarketDataModule]  # figures, scores, data


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
    check_settings(config)
    if config.get("ckpt") not in (None, "last"):
        raise InputError(
            f"ckpt={config.ckpt} is of one training, and walk_forward makes several: ckpt=last "
            "goes on with those in the folder"
        )
    market = instantiate(config.datamodule.market)()
    cuts = _cut(config, market)
    folder, again = Path(config.folder), config.get("ckpt") == "last"
    if again:
        check_same(folder, config)
    begin_folder(config, keep=again)
    describe(trackers, folder)
    windows: list[Window] = []
    for cut in cuts:
        log.info("window %d of %d: test %s to %s", len(windows) + 1, len(cuts), *cut["test"])
        start = windows[-1].best if windows and config.walk_forward.warm_start else None
        windows.append(_window(config, cut, market, start))
        for tracker in trackers:
            tracker.log_metrics(_figures(windows[-1], "window/"), len(windows))
    compared = pd.DataFrame([_compare(cut, w) for cut, w in zip(cuts, windows, strict=True)])
    rank_zero_only(write_table)(compared, folder / "windows.csv")
    take_facts(config, Run.open(folder).newest.folder)
    rows = pd.concat([window.rows["test"] for window in windows], ignore_index=True)
    figures = {str(name): float(compared[name].mean()) for name in compared.filter(like="val/")}
    figures |= {f"test/{name}": value for name, value in summary(rows).items()}
    return figures, name_rows(rows, market, "test"), windows[-1].data


def _cut(config: DictConfig, market: Market) -> list[dict[str, list[str]]]:
    segments = {name: config.data[name] for name in ("train", "valid", "test")}
    return stretches(
        market.dates,
        cast("dict[str, Segment]", OmegaConf.to_container(OmegaConf.create(segments))),
        months=config.walk_forward.months,
        rolling=config.walk_forward.rolling,
        shortest=config.label.sell + 1,
    )


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
