"""Walk forward: one training run per window of the test segment, with joined scores."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import pandas as pd
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from alphazoo.config import instantiate
from alphazoo.data.lineage import count_seen_days
from alphazoo.data.module import MarketDataModule
from alphazoo.data.segments import Segment
from alphazoo.errors import InputError
from alphazoo.files import write_table
from alphazoo.market.concept_state import join_concepts
from alphazoo.market.concepts import Concepts
from alphazoo.market.market import Market
from alphazoo.metrics import summary
from alphazoo.runs.provenance import copy_provenance
from alphazoo.runs.run import read_provenance
from alphazoo.runs.same_data import check_data
from alphazoo.runs.settings import check_settings
from alphazoo.runs.trust import trust_config
from alphazoo.tracking import Tracker, log_settings
from alphazoo.training.fit import prepare_folder, to_score_table
from alphazoo.training.resume import check_same_settings
from alphazoo.training.run_window import Window, run_window
from alphazoo.training.windows import split_windows

log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """The outcome of a run.

    Attributes:
        metrics: The metrics of ``metrics.json``.
        scores: The score table.
        data: Data of the run; for a walk forward, those of the last window.
        concepts: Concepts of the scored days, or None.
    """

    metrics: dict[str, float]
    scores: pd.DataFrame
    data: MarketDataModule
    concepts: Concepts | None


def walk_forward(config: DictConfig, trackers: Sequence[Tracker] = ()) -> Outcome:
    """Train one model per window of the test segment, on the days before the window.

    Each window is a run in its own folder, ``windows/<first test day>``; ``windows.csv`` compares
    them. Windows follow each other without a gap: test labels that reach into the next window leak
    nothing, because no model is trained on them.

    With ``ckpt=last``, finished windows are kept and the interrupted one is resumed. If the data
    have grown since, existing models score the days that are new or whose returns were unknown, and
    models are trained for new windows.

    Trackers see a single run with metrics ``window/...`` by number of the window; the learning
    curves are only in the logs of each window.

    Args:
        config: Config of the run.
        trackers: See `alphazoo.tracking.open_trackers`.

    Returns:
        The outcome. Metrics ``val/...`` are means over windows, metrics ``test/...`` cover all test
        days. Concepts that are computed from training days differ by window; their names then hold
        the first test day of the window.

    Raises:
        InputError: See `split_windows` and `alphazoo.training.fit.fit`; or ``ckpt`` names a file,
            or the data have changed since a window was trained.
    """
    check_settings(config)
    trust_config(config)
    if config.get("ckpt") not in (None, "last"):
        raise InputError(
            f"ckpt={config.ckpt} resumes one training run, but walk_forward has several: ckpt=last "
            "resumes those in the folder"
        )
    reader: MarketDataModule = instantiate(config.datamodule)
    now = reader.read_fingerprint()
    market = now.market
    cuts = _cut(config, market)
    folder, resumed = Path(config.folder), config.get("ckpt") == "last"
    if resumed:
        check_same_settings(folder, config)
        for file in sorted(folder.glob("windows/*/config.yaml")):
            check_data(read_provenance(file.parent).get("data", {}), now, str(file.parent))
    prepare_folder(config, keep=resumed)
    log_settings(trackers, config)
    windows: list[Window] = []
    for cut in cuts:
        log.info("window %d of %d: test %s to %s", len(windows) + 1, len(cuts), *cut["test"])
        start = windows[-1].best if windows and config.walk_forward.warm_start else None
        windows.append(run_window(config, cut, market, start))
        for tracker in trackers:
            tracker.log_metrics(_metrics(windows[-1], "window/"), len(windows))
    compared = pd.DataFrame([_compare(cut, w) for cut, w in zip(cuts, windows, strict=True)])
    rank_zero_only(write_table)(compared, folder / "windows.csv")
    newest = windows[-1].data
    copy_provenance(config, folder / "windows" / cuts[-1]["test"][0], newest)
    rows = pd.concat([window.rows["test"] for window in windows], ignore_index=True)
    metrics = {str(name): float(compared[name].mean()) for name in compared.filter(like="val/")}
    metrics |= {f"test/{name}": value for name, value in summary(rows).items()}
    metrics |= _seen_before(windows)
    scores = to_score_table(rows, market, "test")
    return Outcome(metrics, scores, newest, _concepts(cuts, windows, market))


def _cut(config: DictConfig, market: Market) -> list[dict[str, list[str]]]:
    segments = {name: config.data[name] for name in ("train", "valid", "test")}
    return split_windows(
        market.dates,
        cast("dict[str, Segment]", OmegaConf.to_container(OmegaConf.create(segments))),
        months=config.walk_forward.months,
        rolling=config.walk_forward.rolling,
        shortest=instantiate(config.label).reach + 1,
    )


def _seen_before(windows: Sequence[Window]) -> dict[str, float]:
    """Sum the counts of `alphazoo.data.lineage.count_seen_days` over windows."""
    found = [count_seen_days(window.lineage, window.data) for window in windows]
    names = sorted(set().union(*found))
    return {name: sum(counts.get(name, 0.0) for counts in found) for name in names}


def _concepts(
    cuts: Sequence[Mapping[str, Sequence[str]]], windows: Sequence[Window], market: Market
) -> Concepts | None:
    """Return the concepts of the test days; computed ones come from the window of each day."""
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
    """Return a row of ``windows.csv``."""
    ends = {f"{name} {end}": cut[name][end == "to"] for name in cut for end in ("from", "to")}
    return {**ends, **_metrics(window)}


def _metrics(window: Window, prefix: str = "") -> dict[str, float]:
    metrics = {"val": summary(window.rows["valid"]), "test": summary(window.rows["test"])}
    return {
        f"{prefix}{split}/{name}": value
        for split in metrics
        for name, value in metrics[split].items()
    }
