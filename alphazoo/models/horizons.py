"""Score tables of the horizons of the label, beside the one of the score."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from alphazoo.data.days import DayBatch
from alphazoo.metrics import ScoreTable, summary

METRICS = ("ic", "rank_ic")


class HorizonTables(nn.Module):
    """One score table per split and horizon.

    Args:
        splits: Names of the splits.
        horizons: Purchase and sale day of each horizon; without any, all methods do nothing.
    """

    def __init__(self, splits: Sequence[str], horizons: Sequence[Sequence[int]] = ()) -> None:
        names = [f"{buy}_{sell}" for buy, sell in horizons]
        super().__init__()
        tables = {f"{split}_{name}": ScoreTable() for split in splits for name in names}
        self.tables = nn.ModuleDict(tables)
        self.horizons = names

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics, such as ``ic_1_6`` and ``rank_ic_1_6``."""
        return [f"{metric}_{name}" for name in self.horizons for metric in METRICS]

    def reset(self, split: str) -> None:
        """Clear the tables of a split."""
        for name in self.horizons:
            self._table(split, name).reset()

    def update(self, split: str, day: DayBatch, outputs: Tensor) -> None:
        """Add a day.

        Args:
            split: Name of the split.
            day: Gives the targets and their returns.
            outputs: [N, L], the output that forecasts each horizon.
        """
        for i, name in enumerate(self.horizons):
            of_horizon = day._replace(labels=day.targets[:, i], returns=day.target_returns[:, i])
            self._table(split, name).update(of_horizon, outputs[:, i])

    def compute(self, split: str) -> dict[str, float]:
        """Return the metrics of a split by name."""
        found = {name: summary(self._table(split, name).compute()) for name in self.horizons}
        return {f"{metric}_{name}": found[name][metric] for name in found for metric in METRICS}

    def _table(self, split: str, name: str) -> ScoreTable:
        return cast("ScoreTable", self.tables[f"{split}_{name}"])
