"""alphazoo: cross-sectional stock-return models on PyTorch Lightning.

market files -> `Market` (prices, calendar, universe) -> features, labels, scaling -> one
`DayBatch` per trading day -> `StockModel` -> scores -> metrics, `analyse`, `run_backtest`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alphazoo.analysis import analyse
    from alphazoo.backtest.run import run_backtest
    from alphazoo.config import compose, instantiate
    from alphazoo.data.alpha360 import Alpha360
    from alphazoo.data.days import DayBatch
    from alphazoo.data.labels import Label
    from alphazoo.data.market import Market
    from alphazoo.data.module import MarketDataModule
    from alphazoo.data.panels import Panels
    from alphazoo.data.scaling import RobustZScore
    from alphazoo.evaluation import evaluate
    from alphazoo.fit import score_table
    from alphazoo.metrics import daily_ic, summary
    from alphazoo.models.base import StockModel
    from alphazoo.scores import join_returns, read_scores

__all__ = [
    "Alpha360",
    "DayBatch",
    "Label",
    "Market",
    "MarketDataModule",
    "Panels",
    "RobustZScore",
    "StockModel",
    "analyse",
    "compose",
    "daily_ic",
    "evaluate",
    "instantiate",
    "join_returns",
    "read_scores",
    "run_backtest",
    "score_table",
    "summary",
]

_HOMES = {
    "Alpha360": "data.alpha360",
    "DayBatch": "data.days",
    "Label": "data.labels",
    "Market": "data.market",
    "MarketDataModule": "data.module",
    "Panels": "data.panels",
    "RobustZScore": "data.scaling",
    "StockModel": "models.base",
    "analyse": "analysis",
    "compose": "config",
    "daily_ic": "metrics",
    "evaluate": "evaluation",
    "instantiate": "config",
    "join_returns": "scores",
    "read_scores": "scores",
    "run_backtest": "backtest.run",
    "score_table": "fit",
    "summary": "metrics",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used, so that ``alphazoo --help`` does not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'alphazoo' has no attribute {name!r}")
    return getattr(import_module(f"alphazoo.{_HOMES[name]}"), name)
