"""Alpha158: candlestick shapes, price levels and rolling statistics of price and volume.

These are the features of Qlib's benchmarks of the same name. The formulas follow
``qlib.contrib.data.loader.Alpha158DL`` (pyqlib 0.9.7), which explains each name.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from alphazoo.allocator import keep_freed_memory
from alphazoo.features.moments import Moments, Trend
from alphazoo.features.rolling import Maximum, Ordered, Position, Rank, Sums, lagged
from alphazoo.features.threads import map_threads

EPSILON = 1e-12
DAYS = (5, 10, 20, 30, 60)
LONGEST = max(DAYS)  # the number of earlier days that a column depends on
BLOCK = 2**16  # values of a panel computed at a time, so that a group of panels fits in the cache

CANDLE = ("KMID", "KLEN", "KMID2", "KUP", "KUP2", "KLOW", "KLOW2", "KSFT", "KSFT2")
PRICES = ("OPEN0", "HIGH0", "LOW0", "VWAP0")
ROLLING = (
    *("ROC", "MA", "STD", "BETA", "RSQR", "RESI", "MAX", "MIN", "QTLU", "QTLD", "RANK", "RSV"),
    *("IMAX", "IMIN", "IMXD", "CORR", "CORD", "CNTP", "CNTN", "CNTD", "SUMP", "SUMN", "SUMD"),
    *("VMA", "VSTD", "WVMA", "VSUMP", "VSUMN", "VSUMD"),
)
COLUMNS = (*CANDLE, *PRICES, *(f"{name}{n}" for name in ROLLING for n in DAYS))

FIELDS = ("open", "high", "low", "close", "volume", "vwap")

Fields = Mapping[str, Tensor]  # panels [D, S] by name, see FIELDS
Formulas = dict[str, Callable[[int], Tensor]]  # by name without n: returns [D, S] for n days


def compute(fields: Fields, columns: Sequence[str], out: Tensor) -> None:
    """Compute columns for the last days of a market, on the device of the fields.

    Blocks of stocks are computed in parallel, on as many threads as torch uses.

    Args:
        fields: [D, S] each; without ``vwap``, ``VWAP0`` is NaN.
        columns: [F], some of `COLUMNS`.
        out: [F, d, S], filled with the values of the last d days, where d <= D; NaN where unknown.
    """
    n_days, n_stocks = fields["close"].shape
    position = {column: index for index, column in enumerate(columns)}
    width = max(1, BLOCK // n_days)
    names = [name for name in FIELDS if name in fields]

    def fill(first: int) -> None:
        stocks = slice(first, first + width)
        block = {name: fields[name][:, stocks].contiguous() for name in names}
        block.setdefault("vwap", torch.full_like(block["close"], torch.nan))
        for column, values in _compute(block, position):
            out[position[column], :, stocks] = values[n_days - out.shape[1] :]

    if fields["close"].device.type == "cpu":
        keep_freed_memory()  # returning pages to the system takes a third of the time
    map_threads(fill, range(0, n_stocks, width))


def _compute(f: Fields, wanted: Container[str]) -> Iterator[tuple[str, Tensor]]:
    """Yield columns and their values by group, and free what a group shares before the next."""
    for column, values in _today(f).items():
        if column in wanted:
            yield column, values
    for group in (_level, _trend, _order, _extremes, _joint, _days, _price_sums, _volume_sums):
        for name, formula in group(f).items():
            for n in DAYS:
                if f"{name}{n}" in wanted:
                    yield f"{name}{n}", formula(n)


def _today(f: Fields) -> dict[str, Tensor]:
    open_, high, low, close = f["open"], f["high"], f["low"], f["close"]
    spread = high - low + EPSILON
    above = high - torch.maximum(open_, close)
    below = torch.minimum(open_, close) - low
    return {
        "KMID": (close - open_) / open_,
        "KLEN": (high - low) / open_,
        "KMID2": (close - open_) / spread,
        "KUP": above / open_,
        "KUP2": above / spread,
        "KLOW": below / open_,
        "KLOW2": below / spread,
        "KSFT": (2 * close - high - low) / open_,
        "KSFT2": (2 * close - high - low) / spread,
        "OPEN0": open_ / close,
        "HIGH0": high / close,
        "LOW0": low / close,
        "VWAP0": f["vwap"] / close,
    }


def _level(f: Fields) -> Formulas:
    close, sums, rank = f["close"], Sums(f["close"], LONGEST), Rank(f["close"], LONGEST)
    return {
        "ROC": lambda n: lagged(close, n) / close,
        "MA": lambda n: sums.mean(n) / close,
        "RANK": rank.rank,
    }


def _trend(f: Fields) -> Formulas:
    close, trend = f["close"], Trend(f["close"], LONGEST)
    return {
        "STD": lambda n: trend.std(n) / close,
        "BETA": lambda n: trend.slope(n) / close,
        "RSQR": trend.r_squared,
        "RESI": lambda n: trend.residual(n) / close,
    }


def _order(f: Fields) -> Formulas:
    close, ordered = f["close"], Ordered(f["close"], LONGEST)
    return {
        "QTLU": lambda n: ordered.quantile(n, 0.8) / close,
        "QTLD": lambda n: ordered.quantile(n, 0.2) / close,
    }


def _extremes(f: Fields) -> Formulas:
    close = f["close"]
    high, low = Maximum(f["high"], LONGEST), Maximum(-f["low"], LONGEST)  # low: -(lowest low)
    high_day, low_day = Position(f["high"], LONGEST), Position(-f["low"], LONGEST)
    return {
        "MAX": lambda n: high.value(n) / close,
        "MIN": lambda n: -low.value(n) / close,
        "RSV": lambda n: (close + low.value(n)) / (high.value(n) + low.value(n) + EPSILON),
        "IMAX": lambda n: high_day.position(n) / n,
        "IMIN": lambda n: low_day.position(n) / n,
        "IMXD": lambda n: (high_day.position(n) - low_day.position(n)) / n,
    }


def _joint(f: Fields) -> Formulas:
    close, volume = f["close"], f["volume"]
    levels = Moments(close, (volume + 1).log(), longest=LONGEST)
    changes = Moments(
        close / lagged(close, 1), (volume / lagged(volume, 1) + 1).log(), longest=LONGEST
    )
    return {"CORR": levels.correlation, "CORD": changes.correlation}


def _days(f: Fields) -> Formulas:
    close, before = f["close"], lagged(f["close"], 1)
    # after a stock's first price, a day without a price counts as a day without a move
    listed = close.isfinite().cumsum(0) > 0
    rises, falls = (
        Sums(moved.float().where(listed, torch.nan), LONGEST)
        for moved in (close > before, close < before)
    )
    return {
        "CNTP": rises.mean,
        "CNTN": falls.mean,
        "CNTD": lambda n: rises.mean(n) - falls.mean(n),
    }


def _price_sums(f: Fields) -> Formulas:
    return _sums(f["close"], "SUM")


def _volume_sums(f: Fields) -> Formulas:
    close, volume = f["close"], f["volume"]
    mean, spread = Sums(volume, LONGEST), Moments(volume, longest=LONGEST)
    weighted = (close / lagged(close, 1) - 1).abs() * volume
    weighted_mean, weighted_spread = Sums(weighted, LONGEST), Moments(weighted, longest=LONGEST)
    return {
        "VMA": lambda n: mean.mean(n) / (volume + EPSILON),
        "VSTD": lambda n: spread.std(n) / (volume + EPSILON),
        "WVMA": lambda n: weighted_spread.std(n) / (weighted_mean.mean(n) + EPSILON),
        **_sums(volume, "VSUM"),
    }


def _sums(x: Tensor, prefix: str) -> Formulas:
    """Return the formulas for rises and falls as shares of all moves."""
    change = x - lagged(x, 1)
    rises, falls = Sums(change.clamp(min=0), LONGEST), Sums((-change).clamp(min=0), LONGEST)
    moves = Sums(change.abs(), LONGEST)
    return {
        f"{prefix}P": lambda n: rises.sum(n) / (moves.sum(n) + EPSILON),
        f"{prefix}N": lambda n: falls.sum(n) / (moves.sum(n) + EPSILON),
        f"{prefix}D": lambda n: (rises.sum(n) - falls.sum(n)) / (moves.sum(n) + EPSILON),
    }
