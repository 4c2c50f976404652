"""Faults that are planted into a market and its scores from a day on, and the monitor of each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from alphazoo.market.market import Market
from alphazoo.serving.monitor.profile import Columns


@dataclass
class Work:
    """A market and live scores, before or after a fault."""

    market: Market
    scores: pd.DataFrame
    row: int  # of the calendar, from which the fault is there

    @property
    def day(self) -> pd.Timestamp:
        return self.market.dates[self.row]

    @property
    def stock(self) -> int:
        """A stock with prices on all days."""
        return int(self.market.present.float().mean(dim=0).argmax())


def change(work: Work, edit: Callable[[dict[str, Tensor]], None]) -> Work:
    fields = {name: panel.clone() for name, panel in work.market.fields.items()}
    edit(fields)
    return replace(work, market=replace(work.market, fields=fields))


def a_day_late(work: Work) -> Work:
    """The newest day has not come."""
    last = work.market.dates[-2]
    scores = work.scores[work.scores["date"] <= last]
    return replace(work, market=work.market.until(len(work.market.dates) - 2), scores=scores)


def a_third_of_the_members_missing(work: Work) -> Work:
    scores = work.scores
    absent = scores["symbol"].isin(sorted(scores["symbol"].unique())[::3])
    return replace(work, scores=scores[~(absent & (scores["date"] >= work.day))])


def volume_in_lots(work: Work) -> Work:
    return change(work, lambda fields: fields["volume"][work.row :].div_(100))


def unadjusted_split(work: Work) -> Work:
    def halve(fields: dict[str, Tensor]) -> None:
        for name in ("open", "high", "low", "close"):
            fields[name][work.row :, work.stock] /= 2

    return change(work, halve)


def scores_of_the_day_before(work: Work) -> Work:
    days = sorted(work.scores["date"].unique())
    before = work.scores.set_index(["date", "symbol"])["score"]
    scores = work.scores.copy()
    today = scores["date"] == work.day
    earlier = days[days.index(work.day) - 1]
    keys = pd.MultiIndex.from_product([[earlier], scores.loc[today, "symbol"]])
    scores.loc[today, "score"] = before.reindex(keys).to_numpy()
    return replace(work, scores=scores.dropna(subset="score"))


def shuffled_scores(work: Work) -> Work:
    random, scores = np.random.default_rng(0), work.scores.copy()
    late = scores["date"] >= work.day
    scores.loc[late, "score"] = (
        scores[late].groupby("date")["score"].transform(lambda x: random.permutation(x.to_numpy()))
    )
    return replace(work, scores=scores)


def another(column: str, work: Work) -> Work:
    late = work.scores["date"] >= work.day
    return replace(
        work, scores=work.scores.assign(**{column: work.scores[column].where(~late, "other")})
    )


def another_checkpoint(work: Work) -> Work:
    return another("checkpoint", work)


def other_settings(work: Work) -> Work:
    return another("settings", work)


def other_data(work: Work) -> Work:
    """The data of the day have come, or changed, after it was scored."""
    return change(work, lambda fields: fields["volume"][work.row].mul_(1.5))


def restated_past(work: Work) -> Work:
    """A price of one stock differs on one of the training days."""

    def restate(fields: dict[str, Tensor]) -> None:
        for name in ("open", "high", "low", "close"):
            fields[name][work.row // 3, work.stock] *= 1.02

    return change(work, restate)


def frozen_column(patch: pytest.MonkeyPatch, name: str, row: int) -> None:
    """Let a feature keep its values of a day from then on."""
    read = Columns.values

    def values(self: Columns, rows: range) -> Iterator[Tensor]:
        days = torch.tensor([*rows])
        for column, x in zip(self.names, read(self, rows), strict=True):
            if column == name and (days == row - 1).any():
                kept = x[days == row - 1]
                x = torch.where((days >= row)[:, None], kept, x)
            yield x

    patch.setattr(Columns, "values", values)


# fault -> the monitor that catches it, and the number of days that it may take
FAULTS: dict[Callable[[Work], Work], tuple[str, int]] = {
    a_day_late: ("age", 1),
    a_third_of_the_members_missing: ("coverage", 1),
    volume_in_lots: ("feature_drift", 20),
    unadjusted_split: ("price_breaks", 1),
    scores_of_the_day_before: ("rank_stability", 1),
    shuffled_scores: ("rank_stability_mean", 20),
    another_checkpoint: ("identity", 1),
    other_settings: ("identity", 1),
    other_data: ("identity", 1),
}
