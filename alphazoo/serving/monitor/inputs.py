"""Monitors of the inputs: freshness and completeness of the data, and drift of the features."""

import numpy as np
import pandas as pd

from alphazoo.errors import InputError
from alphazoo.serving.monitor.limits import Limits
from alphazoo.serving.monitor.live import Live
from alphazoo.serving.monitor.profile import Values, pooled, psi
from alphazoo.serving.monitor.readings import readings


def age(live: Live) -> pd.DataFrame:
    """Return the number of trading days since the newest scored day; on the last day, to today."""
    days = np.arange(len(live.rows))
    scored = np.zeros(len(days), dtype=int)
    scored[live.scored] = live.scored
    value = days - np.maximum.accumulate(scored)
    newest = live.dates[live.scored[-1]]
    value[-1] = max(value[-1], _trading_days(newest, live.today, live.limits))
    return readings("age", live.dates, value, high=live.limits.age)


def _trading_days(first: pd.Timestamp, last: pd.Timestamp, limits: Limits) -> int:
    """Return the number of trading days after ``first``, up to and including ``last``."""
    if limits.calendar is None:
        day = pd.Timedelta(days=1)
        return int(np.busday_count((first + day).date(), (last + day).date()))
    try:
        with open(limits.calendar, encoding="utf-8") as lines:
            dates = pd.DatetimeIndex([line.strip() for line in lines if line.strip()])
    except (OSError, ValueError) as error:
        raise InputError(
            f"monitoring.calendar={limits.calendar}: expected a file with a date per line: {error}"
        ) from error
    if not len(dates) or dates.max() < last:
        end = f"{dates.max():%Y-%m-%d}" if len(dates) else "nowhere"
        raise InputError(
            f"monitoring.calendar={limits.calendar} ends on {end}, before today, {last:%Y-%m-%d}"
        )
    return int(((dates > first) & (dates <= last)).sum())


def frozen_closes(live: Live) -> pd.DataFrame:
    """Return the share of stocks whose close has repeated for more than ``repeat_days`` days."""
    limits, first = live.limits, max(0, live.rows.start - live.limits.repeat_days - 1)
    close = live.market.field("close")[first:].numpy()
    run = np.zeros(close.shape, dtype=np.int32)
    for day in range(1, len(close)):
        run[day] = np.where(close[day] == close[day - 1], run[day - 1] + 1, 0)
    present = live.market.present[live.rows.start :].numpy()
    frozen = (run[live.rows.start - first :] > limits.repeat_days) & present
    with np.errstate(invalid="ignore"):
        share = frozen.sum(axis=1) / present.sum(axis=1)
    return readings("frozen_closes", live.dates, share, high=limits.frozen_closes)


def price_breaks(live: Live) -> pd.DataFrame:
    """Return the largest change of a close from one day to the next, as a factor."""
    first = max(0, live.rows.start - 1)
    close = live.market.field("close")[first:].double().numpy()
    move = np.abs(np.log(close[1:] / close[:-1]))
    members = live.market.members[first + 1 :].numpy()
    move = np.nan_to_num(np.where(members, move, 0.0))
    if first == live.rows.start:  # the first day of the calendar has no day before
        move = np.vstack([np.zeros_like(move[:1]), move])
    names = [live.market.symbols[stock] for stock in move.argmax(axis=1)]
    largest = np.exp(move.max(axis=1))
    return readings(
        "price_breaks", live.dates, largest, high=live.limits.price_factor, detail=names
    )


def coverage(live: Live) -> pd.DataFrame:
    """Return the share of members that are scored; the limit follows the last days."""
    limits = live.limits
    members = live.market.members[live.rows.start :].numpy()
    scored = np.isfinite(live.scores) & members
    share = scored.sum(axis=1) / np.maximum(members.sum(axis=1), 1)
    # days without scores are a matter of `age`
    value = pd.Series(np.where(np.isfinite(live.scores).any(axis=1), share, np.nan))
    usual = value.shift().rolling(limits.coverage_days, min_periods=1).median()
    low = (limits.coverage * usual).fillna(-np.inf)
    return readings("coverage", live.dates, value, low=low.to_numpy())


def missing_values(live: Live) -> pd.DataFrame:
    """Return the share of missing values in the column that exceeds its limit most."""
    limits, reference = live.limits, live.reference
    high = np.maximum(limits.missing_factor * reference.missing, limits.missing_floor)
    high = np.maximum(high, reference.missing_high * limits.margin)
    return _worst(live, "missing_values", live.profile.missing[live.history :], high)


def frozen_features(live: Live) -> pd.DataFrame:
    """Return the share of stocks whose value repeats that of the day before, in the worst column.

    The limit is halfway between the largest share on the reference days and 1; there is none for a
    column that has always repeated.
    """
    usual = np.nan_to_num(live.reference.repeats)
    high = np.where(usual < 1, (1 + usual) / 2, np.inf)
    return _worst(live, "frozen_features", live.profile.repeats[live.history :], high)


def feature_drift(live: Live) -> pd.DataFrame:
    """Return the PSI of the pooled last days against the training days, in the worst column.

    The limit is that of independent rows, but at least the largest PSI of as many consecutive
    reference days times the margin: the stocks of a day move together.
    """
    limits, reference = live.limits, live.reference
    counts = pooled(live.profile.counts, limits.psi_days)[live.history :]
    value = psi(counts, reference.counts)
    high = np.maximum(limits.psi, limits.null_psi(counts.sum(axis=-1)))
    high = np.maximum(high, limits.margin * reference.psi)
    return _worst(live, "feature_drift", value, high)


def _worst(live: Live, monitor: str, values: Values, high: Values) -> pd.DataFrame:
    """Return the readings of the column [d, F] that is closest to, or farthest above, its limit."""
    high = np.broadcast_to(high, values.shape)
    ratio = np.nan_to_num(values / high, nan=-1.0)
    worst = ratio.argmax(axis=1)
    days = np.arange(len(values))
    above = (ratio > 1).sum(axis=1)
    names = live.reference.columns[worst]
    detail = [
        f"{name} and {count - 1} more" if count > 1 else str(name)
        for name, count in zip(names, above, strict=True)
    ]
    return readings(monitor, live.dates, values[days, worst], high=high[days, worst], detail=detail)
