"""MarketDataModule: a market's days as train, valid, test and predict loaders."""

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
from alphazoo.data.segments import Segment, read_segment, split_days
from alphazoo.data.state import MarketState
from alphazoo.errors import InputError, check_choice
from alphazoo.features.base import FeatureSet
from alphazoo.market.check import stray_losses
from alphazoo.market.concept_state import concepts_state, restore_concepts
from alphazoo.market.concepts import Concepts, ConceptSource, are_learned, find_concepts
from alphazoo.market.fingerprint import Fingerprint
from alphazoo.market.market import Market

log = logging.getLogger(__name__)


class MarketDataModule(L.LightningDataModule):
    """Yields one trading day per batch, made on the device of the trainer.

    There is nothing to prepare once for all processes: each reads the market in ``setup``.

    Args:
        market: The market, or a function that reads it (called in ``setup``, in each process).
        features: What a model sees of a stock.
        label: What it learns.
        scaler: How features are scaled. The data module has a copy of its own, fitted once on its
            train days and kept in the checkpoint.
        train: ``[from, to]``, dates, both included; None is an open end.
        valid: Likewise, after ``train``.
        test: Likewise, after ``valid``.
        embargo: Days left out at the end of train and valid, besides those whose label reaches
            beyond the segment.
        min_stocks: Days with fewer stocks are left out.
        concepts: Who belongs to which concept: a table, see `read_concepts`, or a function of the
            market and the rows of its train days; None: there are none.
    """

    market: Market
    segments: dict[str, Sequence[int]]
    _panels: DayPanels
    _moved: DayPanels | None = None  # on the device of the trainer, while it runs
    _seed: int | None = None  # of the order of train days, likewise
    _has_statistics: bool = False  # of the train days or a checkpoint, for the scaler
    _restored: bool = False  # whether a checkpoint brought them

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
            raise InputError(f"data.embargo is 0 days or more, got {embargo}")
        if min_stocks < 1:
            raise InputError(f"data.min_stocks is 1 or more, got {min_stocks}")

    def setup(self, stage: str | None = None) -> None:
        """Read the market, make labels, find the days of each segment; the first time only.

        A Trainer that begins a fit does it again after a checkpoint was scored, whose statistics
        and concepts may be of other days.
        """
        if stage is not None:  # a Trainer begins: one that failed has not torn down what it had
            self._moved = self._seed = None
        if stage == "fit" and self._restored:  # a new fit has statistics and concepts of its own
            del self._panels
            self._has_statistics = self._restored = False
        if hasattr(self, "_panels"):
            return
        market = self._read()
        windows = self.features.bind(market)
        present = market.present
        returns = self.label.returns(market.field("close"))
        rows = split_days(market.dates, self.dates, purge=self.label.sell, embargo=self.embargo)
        concepts = find_concepts(self._concepts, market, rows["train"])
        labels = self.label.scaled(returns, present, concepts)
        self._log_losses(market, labels, rows)
        self.market = market
        counts, labelled = present.sum(dim=1), labels.isfinite().any(dim=1)
        self.segments = {
            name: self._usable(name, days, counts, labelled) for name, days in rows.items()
        }
        state = MarketState.of(market)
        self._panels = DayPanels(windows, self.scaler, labels, returns, present, concepts, state)
        self.predict_days(range(rows["test"].start, len(market.dates)))

    def predict_days(self, rows: Sequence[int]) -> None:
        """Choose the days of ``predict``: rows of the calendar, those with too few stocks left out.

        Raises:
            InputError: None is left.
        """
        self.setup()
        counts = self._panels.present.sum(dim=1)
        self.segments["predict"] = [row for row in rows if counts[row] >= self.min_stocks]
        if not self.segments["predict"]:
            ends = " to ".join(f"{self.market.dates[row]:%Y-%m-%d}" for row in (rows[0], rows[-1]))
            raise InputError(
                f"no day of {ends} has {self.min_stocks} members of market {self.market.name!r} "
                "with a price"
            )

    def days(self, segment: str) -> Days:
        """The days of ``train``, ``valid``, ``test`` or ``predict``, on the CPU.

        ``predict`` are all days from the start of ``test`` to the newest, with label or without,
        unless `predict_days` chose others.
        """
        self.setup()
        if not self._has_statistics:  # no checkpoint brought its statistics
            panels, columns = self._panels, self.features.columns
            self.scaler.fit(panels.windows, self.segments["train"], panels.present, columns)
            self._has_statistics = True
        self._panels.market.fit(self.segments["train"])
        check_choice("segment", segment, self.segments)
        return Days(self.segments[segment], self._panels)

    @property
    def concepts(self) -> Concepts | None:
        """Who belongs to what; None where nobody belongs to anything."""
        self.setup()
        return self._panels.concepts if self._panels.concepts.names else None

    @property
    def fingerprint(self) -> Fingerprint:
        """What tells the data from others; computed concepts follow from the market."""
        return Fingerprint(self.market, None if self.computes_concepts else self.concepts)

    def read_fingerprint(self) -> Fingerprint:
        """Read the market and the concepts that are data, and make no days of them."""
        market = self._read()
        source = None if self.computes_concepts else self._concepts
        return Fingerprint(market, find_concepts(source, market, []))

    @property
    def computes_concepts(self) -> bool:
        """Whether the concepts are computed from the train days, see `are_learned`."""
        return are_learned(self._concepts)

    @property
    def ends(self) -> dict[str, list[str]]:
        """First day, and last day that a label reaches, of train and validation."""
        self.setup()
        return {name: self._ends(name) for name in ("train", "valid")}

    def train_days(self) -> Days:
        """The train days in order, on the device of the trainer: what a model may remember."""
        return self._device_days("train")

    def train_dataloader(self) -> DataLoader[DayBatch]:
        """Train days in random order, on the device of the trainer, like those of all loaders."""
        if self._seed is None or self.trainer is None:  # later, each process has its own
            self._seed = torch.initial_seed()
        days, (processes, rank) = self._device_days("train"), self._processes()
        own = torch.Generator()  # else a loader draws from torch's, sooner or later than the epoch
        order = ShuffledDaySampler(days, seed=self._seed, processes=processes, rank=rank)
        return DataLoader(days, batch_size=None, sampler=order, generator=own)

    def val_dataloader(self) -> DataLoader[DayBatch]:
        """Valid days in order."""
        return self._in_order("valid")

    def test_dataloader(self) -> DataLoader[DayBatch]:
        """Test days in order."""
        return self._in_order("test")

    def predict_dataloader(self) -> DataLoader[DayBatch]:
        """All days from the start of test to the newest."""
        return self._in_order("predict")

    def teardown(self, stage: str) -> None:
        """Free the memory of the device."""
        self._moved = self._seed = None

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs to make the same days again, and which data and days it saw."""
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
        """Take the statistics of a checkpoint, and the concepts that its run has computed.

        Raises:
            InputError: It was made with other features or indices.
        """
        here = {"columns": list(self.features.columns), "window": self.features.window}
        for name, value in here.items():
            if state_dict[name] != value:
                raise InputError(
                    f"the checkpoint was made with features.{name}={state_dict[name]}, "
                    f"here it is {value}"
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
            log.warning("the checkpoint does not hold its concepts: they are computed again")
        self._moved = None

    def _restore_concepts(self, state: Mapping[str, Any]) -> None:
        panels = self._panels
        if state == concepts_state(panels.concepts, self.market):
            return
        concepts = restore_concepts(state, self.market)
        labels = panels.labels
        if self.label.neutral:
            labels = self.label.scaled(panels.returns, panels.present, concepts)
        self._panels = replace(panels, concepts=concepts, labels=labels)

    def _processes(self) -> tuple[int, int]:
        """How many share the days, and which this is."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def _in_order(self, segment: str) -> DataLoader[DayBatch]:
        """Every process has as many; for that some days are in two, whose scores count once."""
        days, (processes, rank) = self._device_days(segment), self._processes()
        share: DistributedSampler[DayBatch] = DistributedSampler(
            days, num_replicas=processes, rank=rank, shuffle=False
        )
        return DataLoader(days, batch_size=None, sampler=share if processes > 1 else None)

    def _ends(self, segment: str) -> list[str]:
        """First day of a segment, and the last that its labels reach."""
        rows = self.segments[segment]
        ends = rows[0], rows[-1] + self.label.sell
        return [f"{self.market.dates[row]:%Y-%m-%d}" for row in ends]

    def _read(self) -> Market:
        if isinstance(self._source, Market):
            return self._source
        try:
            return self._source()
        except InputError:
            raise
        except (TypeError, ValueError) as error:
            raise InputError(f"cannot make the market: {error}") from error

    def _device_days(self, segment: str) -> Days:
        days = self.days(segment)
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if self._moved is None:
            self._moved = self._panels.to(device)
        return Days(days.rows, self._moved)

    def _log_losses(self, market: Market, labels: Tensor, kept: dict[str, range]) -> None:
        """Say how many labels are lost, and to what."""
        segments = split_days(market.dates, self.dates, purge=0, embargo=0)
        counts = count_losses(market, self.label, labels, segments, kept, self.min_stocks)
        log.info("%s", describe_losses(counts, self.label, self.min_stocks))
        days = [row for rows in kept.values() for row in rows]
        lost = stray_losses(market, self.label, days)
        if lost:
            log.warning("%s labels are lost to days with few members, see above", f"{lost:,}")

    def _usable(self, name: str, days: range, counts: Tensor, labelled: Tensor) -> list[int]:
        """Days of a segment with enough stocks and a label."""
        first, last = (f"{self.market.dates[day]:%Y-%m-%d}" for day in (days[0], days[-1]))
        crowded = [day for day in days if counts[day] >= self.min_stocks]
        if not crowded:
            raise InputError(
                f"data.{name}: no day from {first} to {last} has {self.min_stocks} members of "
                f"market {self.market.name!r} with a price"
            )
        usable = [day for day in crowded if labelled[day]]
        if not usable:
            raise InputError(
                f"data.{name}: no day from {first} to {last} has a label; the return from day "
                f"{self.label.buy} to day {self.label.sell} ahead is missing for every member"
            )
        log.info(
            "%s: %d days from %s to %s; left out: %d with fewer than %d stocks, %d without label",
            name,
            len(usable),
            first,
            last,
            len(days) - len(crowded),
            self.min_stocks,
            len(crowded) - len(usable),
        )
        return usable
