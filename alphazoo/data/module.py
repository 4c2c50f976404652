"""`MarketDataModule`: loaders of training, validation, test and prediction days of a market.

The file is long because Lightning calls all of these hooks on one object.
"""

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from alphazoo.data.days import DayBatch, DayPanels, Days
from alphazoo.data.labels import Label
from alphazoo.data.losses import count_losses, describe_losses
from alphazoo.data.scaling import Scaler
from alphazoo.data.seeds import ShuffledDaySampler
from alphazoo.data.segments import (
    Segment,
    find_usable_days,
    log_late_start,
    read_segment,
    split_days,
)
from alphazoo.data.state import MarketState
from alphazoo.data.weights import day_weights, stock_weights
from alphazoo.errors import InputError, check_choice
from alphazoo.features.base import FeatureSet
from alphazoo.market.check import stray_losses
from alphazoo.market.concept_sources import find_concepts
from alphazoo.market.concept_state import concepts_state, restore_concepts
from alphazoo.market.concepts import Concepts, ConceptSource, are_learned
from alphazoo.market.fingerprint import Fingerprint
from alphazoo.market.market import Market

log = logging.getLogger(__name__)


class MarketDataModule(L.LightningDataModule):
    """Yields one trading day per batch, on the device of the trainer.

    Args:
        market: The market, or a function that reads it; each process calls it in ``setup``.
        features: The feature set.
        label: The training target.
        scaler: The scaler of the features. The data module fits a copy on its training days, and
            stores the statistics in the checkpoint.
        train: ``[from, to]`` of the training days, both included; None is an open end.
        valid: Likewise for the validation days, after ``train``.
        test: Likewise for the test days, after ``valid``.
        embargo: Number of days omitted at the end of ``train`` and ``valid``, in addition to those
            whose labels reach beyond the segment.
        min_stocks: Days with fewer stocks are omitted.
        concepts: A table, see `read_concepts`, or a function of the market and the rows of its
            training days; None for no concepts.
    """

    market: Market
    segments: dict[str, list[int]]
    _panels: DayPanels
    _moved: DayPanels | None = None  # the panels on the device of the trainer, while it runs
    _seed: int | None = None  # seed of the order of training days, while the trainer runs
    _has_statistics: bool = False  # whether the scaler is fitted or restored from a checkpoint
    _restored: bool = False  # whether statistics and concepts come from a checkpoint

    def __init__(
        self,
        market: Market | Callable[[], Market],
        features: FeatureSet,
        label: Label,
        scaler: Scaler,
        *,
        train: Segment,
        valid: Segment,
        test: Segment,
        embargo: int,
        min_stocks: int,
        concepts: str | Path | ConceptSource | None = None,
    ) -> None:
        super().__init__()
        self._source = market
        self.features = features
        self.label = label
        self.scaler = copy.deepcopy(scaler)
        self.dates = {"train": train, "valid": valid, "test": test}
        self.embargo = embargo
        self.min_stocks = min_stocks
        self._concepts = concepts
        for name, segment in self.dates.items():
            read_segment(name, segment)
        if embargo < 0:
            raise InputError(f"data.embargo must be at least 0 days, got {embargo}")
        if min_stocks < 1:
            raise InputError(f"data.min_stocks must be at least 1, got {min_stocks}")

    def setup(self, stage: str | None = None) -> None:
        """Read the market, compute the labels and find the days of each segment, once.

        They are computed again if a checkpoint was loaded before a new fit, because its statistics
        and concepts may come from other days.
        """
        if stage is not None:  # a new Trainer; an earlier one may have failed before teardown
            self._moved = self._seed = None
        if stage == "fit" and self._restored:
            del self._panels
            self._has_statistics = self._restored = False
        if hasattr(self, "_panels"):
            return
        market = self._read()
        windows = self.features.bind(market)
        present = market.present
        returns = self.label.returns(market.field("close"))
        rows = split_days(market.dates, self.dates, purge=self.label.reach, embargo=self.embargo)
        concepts = find_concepts(self._concepts, market, rows["train"])
        labels = self.label.scaled(returns, present, concepts)
        log_late_start(market.dates, self.dates)
        self._log_losses(market, labels, rows)
        self.market = market
        self.segments = find_usable_days(rows, market, self.label, labels, self.min_stocks)
        target_returns = self.label.target_returns(market.field("close"))
        self._panels = DayPanels(
            windows=windows,
            scaler=self.scaler,
            labels=labels,
            returns=returns,
            present=present,
            concepts=concepts,
            market=MarketState.of(market),
            targets=self.label.targets(target_returns, present, concepts),
            target_returns=target_returns,
            stock_weights=stock_weights(market, self.label.weight),
            day_weights=day_weights(
                len(market.dates), self.segments["train"], self.label.half_life
            ),
        )
        self.predict_days(range(rows["test"].start, len(market.dates)))

    def predict_days(self, rows: Sequence[int]) -> None:
        """Set the days of ``predict`` to rows of the calendar, except days with too few stocks.

        Raises:
            InputError: No day has enough stocks.
        """
        self.setup()
        counts = self._panels.present.sum(dim=1)
        self.segments["predict"] = [row for row in rows if counts[row] >= self.min_stocks]
        if not self.segments["predict"]:
            ends = " to ".join(f"{self.market.dates[row]:%Y-%m-%d}" for row in (rows[0], rows[-1]))
            raise InputError(
                f"no day from {ends} has {self.min_stocks} members of market "
                f"{self.market.name!r} with a price"
            )

    def days(self, segment: str) -> Days:
        """Return the days of ``train``, ``valid``, ``test`` or ``predict``, on the CPU.

        By default, ``predict`` has all days from the first test day on, with and without labels;
        `predict_days` changes this.
        """
        self.setup()
        if not self._has_statistics:
            panels, columns = self._panels, self.features.columns
            self.scaler.fit(panels.windows, self.segments["train"], panels.present, columns)
            self._has_statistics = True
        self._panels.market.fit(self.segments["train"])
        check_choice("segment", segment, self.segments)
        return Days(self.segments[segment], self._panels)

    @property
    def concepts(self) -> Concepts | None:
        """The concepts; None if there are none."""
        self.setup()
        return self._panels.concepts if self._panels.concepts.names else None

    @property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint of the market, and of the concepts unless they are computed from it."""
        return Fingerprint(self.market, None if self.computes_concepts else self.concepts)

    def read_fingerprint(self) -> Fingerprint:
        """Read the market, and concepts that are data, and return their fingerprint."""
        market = self._read()
        source = None if self.computes_concepts else self._concepts
        return Fingerprint(market, find_concepts(source, market, []))

    @property
    def computes_concepts(self) -> bool:
        """Whether the concepts are computed from the training days, see `are_learned`."""
        return are_learned(self._concepts)

    @property
    def ends(self) -> dict[str, list[str]]:
        """The first day, and the last day that a label uses, of ``train`` and ``valid``."""
        self.setup()
        return {name: self._ends(name) for name in ("train", "valid")}

    def train_days(self) -> Days:
        """Return the training days in order, on the device of the trainer."""
        return self.device_days("train")

    def device_days(self, segment: str) -> Days:
        """Return the days of a segment in order, on the device of the trainer."""
        days = self.days(segment)
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if self._moved is None:
            self._moved = self._panels.to(device)
        return Days(days.rows, self._moved)

    def train_dataloader(self) -> DataLoader[DayBatch]:
        """Return a loader of the training days in random order, on the device of the trainer."""
        if self._seed is None or self.trainer is None:  # later, processes have different seeds
            self._seed = torch.initial_seed()
        days, (processes, rank) = self.device_days("train"), self._processes()
        own = torch.Generator()  # without it, the loader would draw from torch's global generator
        order = ShuffledDaySampler(days, seed=self._seed, processes=processes, rank=rank)
        return DataLoader(days, batch_size=None, sampler=order, generator=own)

    def val_dataloader(self) -> DataLoader[DayBatch]:
        """Return a loader of the validation days in order."""
        return self._in_order("valid")

    def test_dataloader(self) -> DataLoader[DayBatch]:
        """Return a loader of the test days in order."""
        return self._in_order("test")

    def predict_dataloader(self) -> DataLoader[DayBatch]:
        """Return a loader of the days of ``predict`` in order; see `days`."""
        return self._in_order("predict")

    def teardown(self, stage: str) -> None:
        """Free the memory of the device."""
        self._moved = self._seed = None

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs to reproduce the days, and a record of the data."""
        self.days("train")  # fits the statistics, in case nothing is trained yet, as in a Tuner
        computed = self.computes_concepts
        return {
            "columns": list(self.features.columns),
            "window": self.features.window,
            "scaler": self.scaler.state_dict(),
            "market": self._panels.market.state_dict(),
            "days": self.ends,
            "data": self.fingerprint.record,
            "concepts": concepts_state(self._panels.concepts, self.market) if computed else None,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load the statistics of a checkpoint, and the concepts that its training run computed.

        Raises:
            InputError: The checkpoint was made with other features or indices.
        """
        current = {"columns": list(self.features.columns), "window": self.features.window}
        for name, value in current.items():
            if state_dict[name] != value:
                raise InputError(
                    f"the checkpoint was made with features.{name}={state_dict[name]}, "
                    f"but this run has {value}"
                )
        self.scaler.load_state_dict(state_dict["scaler"])
        self._has_statistics = True
        self._restored = True
        self.setup()
        self._panels.market.load_state_dict(state_dict.get("market", {"indices": []}))
        concepts = state_dict.get("concepts")
        if self.computes_concepts and concepts is not None:
            self._restore_concepts(concepts)
        elif self.computes_concepts:
            log.warning("the checkpoint does not contain its concepts, so they are computed again")
        self._moved = None

    def _restore_concepts(self, state: Mapping[str, Any]) -> None:
        panels = self._panels
        if state == concepts_state(panels.concepts, self.market):
            return
        concepts = restore_concepts(state, self.market)
        labels, targets = panels.labels, panels.targets
        if self.label.neutral:
            labels = self.label.scaled(panels.returns, panels.present, concepts)
            targets = self.label.targets(panels.target_returns, panels.present, concepts)
        self._panels = replace(panels, concepts=concepts, labels=labels, targets=targets)

    def _processes(self) -> tuple[int, int]:
        """Return the number of processes that share the days, and the rank of this one."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def _in_order(self, segment: str) -> DataLoader[DayBatch]:
        """Return a loader in which all processes have equally many days.

        Some days are therefore in two processes; score tables count them once.
        """
        days, (processes, rank) = self.device_days(segment), self._processes()
        share: DistributedSampler[DayBatch] = DistributedSampler(
            days, num_replicas=processes, rank=rank, shuffle=False
        )
        return DataLoader(days, batch_size=None, sampler=share if processes > 1 else None)

    def _ends(self, segment: str) -> list[str]:
        """Return the first day of a segment, and the last day that its labels use."""
        rows = self.segments[segment]
        ends = rows[0], rows[-1] + self.label.reach
        return [f"{self.market.dates[row]:%Y-%m-%d}" for row in ends]

    def _read(self) -> Market:
        if isinstance(self._source, Market):
            return self._source
        try:
            return self._source()
        except InputError:
            raise
        except (TypeError, ValueError) as error:
            raise InputError(f"cannot create the market: {error}") from error

    def _log_losses(self, market: Market, labels: Tensor, kept: Mapping[str, range]) -> None:
        """Log how many labels are missing, and why."""
        segments = split_days(market.dates, self.dates, purge=0, embargo=0)
        counts = count_losses(market, self.label, labels, segments, kept, self.min_stocks)
        log.info("%s", describe_losses(counts, self.label, self.min_stocks))
        lost = stray_losses(market, self.label, [row for rows in kept.values() for row in rows])
        if lost:
            log.warning("%s labels are lost to the days with few members above", f"{lost:,}")
