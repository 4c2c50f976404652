"""Counts missing labels by their cause."""

from collections.abc import Mapping

import torch
from torch import Tensor

from alphazoo.data.labels import Label
from alphazoo.market.market import Market


def count_losses(
    market: Market,
    label: Label,
    labels: Tensor,
    segments: Mapping[str, range],
    kept: Mapping[str, range],
    min_stocks: int,
) -> dict[str, int]:
    """Count the stocks of all days of the segments by what happens to their labels.

    Only universe members with a price are counted.

    Args:
        market: Gives prices and members.
        label: Gives the days of purchase and sale.
        labels: [D, S], NaN where missing.
        segments: Rows of the calendar by name of the segment, before purging.
        kept: The rows that remain after purge and embargo.
        min_stocks: Days with fewer stocks are omitted.

    Returns:
        ``all``, which is the sum of ``segment ends`` (removed by purge and embargo), ``small days``
        (fewer than ``min_stocks``), ``no buy price``, ``no sell price`` (but a buy price),
        ``extremes`` (removed by ``label.drop_extreme``) and ``known``.
    """
    present = market.present
    priced = market.field("close").isfinite()
    before, after = (
        torch.tensor([row for rows in part.values() for row in rows], dtype=torch.long)
        for part in (segments, kept)
    )
    large = after[present[after].sum(dim=1) >= min_stocks]
    stocks, buy, sell = present[large], priced[large + label.buy], priced[large + label.sell]
    known = stocks & labels[large].isfinite()
    return {
        "all": int(present[before].sum()),
        "segment ends": int(present[before].sum() - present[after].sum()),
        "small days": int(present[after].sum() - stocks.sum()),
        "no buy price": int((stocks & ~buy).sum()),
        "no sell price": int((stocks & buy & ~sell).sum()),
        "extremes": int((stocks & buy & sell & ~known).sum()),
        "known": int(known.sum()),
    }


def describe_losses(counts: Mapping[str, int], label: Label, min_stocks: int) -> str:
    """Describe the counts of `count_losses` in one line."""
    extremes = f", {counts['extremes']:,} extreme returns" if counts["extremes"] else ""
    return (
        f"labels: {counts['known']:,} of {counts['all']:,} are known; missing: "
        f"{counts['no buy price']:,} without a price on day t+{label.buy}, "
        f"{counts['no sell price']:,} without a price on day t+{label.sell}, "
        f"{counts['segment ends']:,} at the end of a segment, "
        f"{counts['small days']:,} on days with fewer than {min_stocks} stocks{extremes}"
    )
