"""Walk forward: a training for every stretch of the test segment; its scores, joined."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import pandas as pd
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from alphazoo.config import instantiate
from alphazoo.data.concept_state import join_concepts
from alphazoo.data.concepts import Concepts
from alphazoo.data.market import Market
from alphazoo.data.module import MarketDataModule
from alphazoo.data.segments import Segment
from alphazoo.data.stretches import stretches
from alphazoo.errors import InputError
from alphazoo.facts import take_facts
from alphazoo.files import write_table
from alphazoo.fit import begin_folder, name_rows
from alphazoo.lineage import seen_before
from alphazoo.metrics import summary
from alphazoo.resume import check_same
from alphazoo.runs import Run, read_facts
from alphazoo.same_data import check_data
from alphazoo.settings import check_settings
from alphazoo.tracking import Tracker, describe
from alphazoo.window import Window, run_window

log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What a run comes to.

    Attributes:
        figures: Of ``metrics.json``.
        scores: The score table.
        data: Of the training that knows most.
        concepts: Those that the scored days were made with; None where there are none.
    """

    figures: dict[str, float]
    scores: pd.DataFrame
    data: MarketDataModule
    concepts: Concepts | None


def walk_forward(config: DictConfig, trackers: Sequence[Tracker] = ()) -> Outcome:
    """Train once for every stretch of the test segment, on the days before it.

    Each training is a run in a folder of its own, ``windows/<first test day>``; ``windows.csv``
    compares them. No day of the test segment is left out between two stretches: a label that
    reaches into the next one teaches nobody. With ``ckpt=last`` trainings that have ended are not
    made again, and the one that was stopped goes on. Where the data have grown since, the days that
    are new or whose returns were not known yet are scored by the trainings there are, and new
    stretches trained. To trackers all of it is one run, with figures
    ``window/...`` by number of the training, whose curves are in the logs of its own folder alone.

    Args:
        config: All that the run is told.
        trackers: See `alphazoo.tracking.tracked`.

    Returns:
        Figures: ``val/...`` are means over the trainings, ``test/...`` those of all test days; the
        scores of the test days; the data of the last training. Concepts that are computed from
        train days are those of each training, named after it, on the days that it scores.

    Raises:
        InputError: As `stretches` and `alphazoo.fit.fit`, ``ckpt`` is that of one training, or the
            data have changed since an earlier one.
    """
    check_settings(config)
    if config.get("ckpt") not in (None, "last"):
        raise InputError(
            f"ckpt={config.ckpt} is of one training, and walk_forward makes several: ckpt=last "
            "goes on with those in the folder"
        )
    reader: MarketDataModule = instantiate(config.datamodule)
    now = reader.read_fingerprint()
    market = now.market
    cuts = _cut(config, market)
    folder, again = Path(config.folder), config.get("ckpt") == "last"
    if again:
        check_same(folder, config)
        for file in sorted(folder.glob("windows/*/config.yaml")):
            check_data(read_facts(file.parent).get("data", {}), now, str(file.parent))
    begin_folder(config, keep=again)
    describe(trackers, folder)
    windows: list[Window] = []
    for cut in cuts:
        log.info("window %d of %d: test %s to %s", len(windows) + 1, len(cuts), *cut["test"])
        start = windows[-1].best if windows and config.walk_forward.warm_start else None
        windows.append(run_window(config, cut, market, start))
        for tracker in trackers:
            tracker.log_metrics(_figures(windows[-1], "window/"), len(windows))
    compared = pd.DataFrame([_compare(cut, w) for cut, w in zip(cuts, windows, strict=True)])
    rank_zero_only(write_table)(compared, folder / "windows.csv")
    newest = windows[-1].data
    take_facts(config, Run.open(folder).newest.folder, newest)
    rows = pd.concat([window.rows["test"] for window in windows], ignore_index=True)
    figures = {str(name): float(compared[name].mean()) for name in compared.filter(like="val/")}
    figures |= {f"test/{name}": value for name, value in summary(rows).items()}
    figures |= _seen_before(windows)
    scores = name_rows(rows, market, "test")
    return Outcome(figures, scores, newest, _concepts(cuts, windows, market))


def _cut(config: DictConfig, market: Market) -> list[dict[str, list[str]]]:
    segments = {name: config.data[name] for name in ("train", "valid", "test")}
    return stretches(
        market.dates,
        cast("dict[str, Segment]", OmegaConf.to_container(OmegaConf.create(segments))),
        months=config.walk_forward.months,
        rolling=config.walk_forward.rolling,
        shortest=config.label.sell + 1,
    )


def _seen_before(windows: Sequence[Window]) -> dict[str, float]:
    """Days that models had seen before, see `alphazoo.lineage.seen_before`; over all windows."""
    found = [seen_before(window.lineage, window.data) for window in windows]
    names = sorted(set().union(*found))
    return {name: sum(counts.get(name, 0.0) for counts in found) for name in names}


def _concepts(
    cuts: Sequence[Mapping[str, Sequence[str]]], windows: Sequence[Window], market: Market
) -> Concepts | None:
    """Concepts of the test days: where trainings have computed some, each its own."""
    newest = windows[-1].data
    if not newest.computes_concepts:
        return newest.concepts
    return join_concepts(
        {
            cut["test"][0]: (window.data.concepts, market.rows(*cut["test"]))
            for cut, window in zip(cuts, windows, strict=True)
            if window.data.concepts is not None
        }
    )


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
