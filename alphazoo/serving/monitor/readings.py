"""Readings: the daily values of a monitor with their limits."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

COLUMNS = ("date", "monitor", "value", "low", "high", "alarm", "detail")


def readings(
    monitor: str,
    dates: pd.DatetimeIndex,
    value: npt.ArrayLike,
    *,
    low: npt.ArrayLike = -np.inf,
    high: npt.ArrayLike = np.inf,
    detail: str | Sequence[str] = "",
    alarm: npt.NDArray[np.bool_] | None = None,
) -> pd.DataFrame:
    """Return the readings of a monitor.

    Args:
        monitor: Its name.
        dates: [d].
        value: [d]; NaN where unknown, which is no alarm.
        low: [d] or one number, the smallest value without an alarm.
        high: Likewise the largest.
        detail: [d] or one text, what the value belongs to, such as a column.
        alarm: [d]; by default, a value outside of the limits is an alarm.

    Returns:
        The columns `COLUMNS`, one row per day.
    """
    found = pd.DataFrame({"date": dates, "monitor": monitor})
    found["value"] = np.asarray(value, dtype=np.float64)
    found["low"] = np.asarray(low, dtype=np.float64)
    found["high"] = np.asarray(high, dtype=np.float64)
    outside = (found["value"] < found["low"]) | (found["value"] > found["high"])
    found["alarm"] = outside if alarm is None else alarm
    found["detail"] = detail
    return found[[*COLUMNS]]
