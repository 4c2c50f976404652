"""alphazoo: cross-sectional stock-return models on PyTorch Lightning.

Data flow: market files -> `Market` (prices, calendar, universe) -> features, labels, scaling -> one
`DayBatch` per trading day -> `StockModel` -> scores -> metrics, `analyse`, `run_backtest`.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # before torch, see `alphazoo.allocator`

if TYPE_CHECKING:
    from alphazoo.backtest.run import run_backtest
    from alphazoo.commands.job import train
    from alphazoo.config import compose, instantiate
    from alphazoo.data.days import DayBatch
    from alphazoo.data.labels import Label
    from alphazoo.data.module import MarketDataModule
    from alphazoo.data.scaling import RobustZScore
    from alphazoo.data.scores import join_returns, read_scores
    from alphazoo.evaluation.analysis import analyse
    from alphazoo.evaluation.evaluate import evaluate
    from alphazoo.features.alpha360 import Alpha360
    from alphazoo.features.panels import Panels
    from alphazoo.market.market import Market
    from alphazoo.metrics import daily_ic, summary
    from alphazoo.models.base import StockModel
    from alphazoo.runs.run import Run
    from alphazoo.training.fit import score_table
    from alphazoo.training.progress import ProgressLine
    from alphazoo.training.quiet import silence_libraries

__all__ = [
    "Alpha360",
    "DayBatch",
    "Label",
    "Market",
    "MarketDataModule",
    "Panels",
    "ProgressLine",
    "RobustZScore",
    "Run",
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
    "silence_libraries",
    "summary",
    "train",
]

_HOMES = {
    "Alpha360": "features.alpha360",
    "DayBatch": "data.days",
    "Label": "data.labels",
    "Market": "market.market",
    "MarketDataModule": "data.module",
    "Panels": "features.panels",
    "ProgressLine": "training.progress",
    "RobustZScore": "data.scaling",
    "Run": "runs.run",
    "StockModel": "models.base",
    "analyse": "evaluation.analysis",
    "compose": "config",
    "daily_ic": "metrics",
    "evaluate": "evaluation.evaluate",
    "instantiate": "config",
    "join_returns": "data.scores",
    "read_scores": "data.scores",
    "run_backtest": "backtest.run",
    "score_table": "training.fit",
    "silence_libraries": "training.quiet",
    "summary": "metrics",
    "train": "commands.job",
}


def __getattr__(name: str) -> Any:
    """Import a name on first use, so that ``alphazoo --help`` does not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'alphazoo' has no attribute {name!r}")
    return getattr(import_module(f"alphazoo.{_HOMES[name]}"), name)
