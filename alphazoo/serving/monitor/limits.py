"""Limits of the monitors; `configs/monitoring` holds their values."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alphazoo.bounds import Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

BINS = 10


@dataclass(frozen=True)
class Limits:
    """When a monitor raises an alarm; the yaml describes each value."""

    age: NonNegativeInt
    calendar: str | None
    repeat_days: PositiveInt
    frozen_closes: NonNegativeFloat
    price_factor: PositiveFloat
    coverage: Fraction
    coverage_days: PositiveInt
    missing_factor: PositiveFloat
    missing_floor: NonNegativeFloat
    psi: PositiveFloat
    psi_act: PositiveFloat
    psi_days: PositiveInt
    level: Fraction
    margin: PositiveFloat
    score_factor: PositiveFloat
    stability_days: PositiveInt
    ic_shrinkage: Fraction
    ic_years: PositiveFloat
    days_per_year: PositiveInt
    portfolio_days: PositiveInt
    portfolio_sd: PositiveFloat
    portfolio_outside: PositiveInt

    def null_psi(self, rows: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the quantile of the PSI of ``rows`` independent rows that have not drifted.

        Rows x PSI is about chi-squared with bins - 1 degrees of freedom.
        """
        from scipy.stats import chi2  # half a second, which a training run need not wait for

        found: npt.NDArray[np.float64] = chi2.ppf(self.level, BINS - 1) / np.maximum(rows, 1)
        return found

    def cusum_limit(self, icir: float) -> float:
        """Return the CUSUM limit with one false alarm in ``ic_years`` on average.

        Siegmund, "Sequential analysis", 1985: with the allowance k = ICIR / 2, the mean number of
        days to a false alarm is (exp(2 k b) - 2 k b - 1) / (2 k^2), where b = limit + 1.166.
        """
        from scipy.optimize import brentq

        k, days = icir / 2, self.ic_years * self.days_per_year
        return float(
            brentq(lambda b: (np.expm1(2 * k * b) - 2 * k * b) / (2 * k**2) - days, 1e-6, 150 / k)
            - 1.166
        )
