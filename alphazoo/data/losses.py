"""Lost labels: how many stocks and days have none, and why."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from alphazoo.data.labels import Label
from alphazoo.data.market import Market
from alphazoo.data.strays import lost_labels


def count_losses(
    market: Market,
    label: Label,
    labels: Tensor,
    segments: Mapping[str, range],
    kept: Mapping[str, range],
    min_stocks: int,
) -> dict[str, int]:
    """Count the members with a price on the days of all segments by what becomes of their label.

    Args:
        market: Gives prices and members.
        label: Gives the days to buy and to sell.
        labels: [D, S], NaN where there is none.
        segments: Rows of the calendar by name, as they are asked for.
        kept: Those that are left when labels may not reach out of a segment.
        min_stocks: Days with fewer stocks are left out.

    Returns:
        ``all``; of these ``segment ends`` (purge and embargo), ``small days``, ``no buy price``,
        ``no sell price`` (although there is one to buy), ``extremes`` (left out by
        ``label.drop_extreme``) and ``known``, which add up to ``all``.
    """
    present = market.present
    priced = market.field("close").isfinite()
    asked, left = (
        torch.tensor([row for rows in part.values() for row in rows], dtype=torch.long)
        for part in (segments, kept)
    )
    large = left[present[left].sum(dim=1) >= min_stocks]
    stocks, buy, sell = present[large], priced[large + label.buy], priced[large + label.sell]
    known = stocks & labels[large].isfinite()
    return {
        "all": int(present[asked].sum()),
        "segment ends": int(present[asked].sum() - present[left].sum()),
        "small days": int(present[left].sum() - stocks.sum()),
        "no buy price": int((stocks & ~buy).sum()),
        "no sell price": int((stocks & buy & ~sell).sum()),
        "extremes": int((stocks & buy & sell & ~known).sum()),
        "known": int(known.sum()),
    }


def describe_losses(counts: Mapping[str, int], label: Label, min_stocks: int) -> str:
    """One line of the log about the counts of `count_losses`."""
    extremes = f", {counts['extremes']:,} extreme returns" if counts["extremes"] else ""
    return (
        f"labels: {counts['known']:,} of {counts['all']:,} stocks and days; without one: "
        f"{counts['no buy price']:,} with no price on day t+{label.buy}, "
        f"{counts['no sell price']:,} on day t+{label.sell}, "
        f"{counts['segment ends']:,} on the last days of a segment, "
        f"{counts['small days']:,} on days with fewer than {min_stocks} stocks{extremes}"
    )


def stray_losses(market: Market, label: Label, rows: Iterable[int] | None = None) -> int:
    """How many labels some days of a market, or all, lose to its stray days: see `lost_labels`."""
    priced = market.field("close").isfinite()
    return lost_labels(market.present, priced, buy=label.buy, sell=label.sell, rows=rows)
