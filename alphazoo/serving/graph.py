"""The function that leaves torch: from the unscaled windows of a day to its scores.

The scaler is part of it, so whoever scores needs no statistics. The number of stocks is dynamic.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from alphazoo.data.days import DayBatch
from alphazoo.data.module import MarketDataModule
from alphazoo.data.scaling import Scaler
from alphazoo.errors import InputError
from alphazoo.models.base import StockModel

LATER = 2**31 - 1  # a row of the calendar after all training days

Inputs = dict[str, Tensor]


class Scaling(nn.Module):
    """Scales windows [N, T, F] as the data module does.

    Args:
        scaler: The fitted scaler.
    """

    def __init__(self, scaler: Scaler) -> None:
        super().__init__()
        self.scaler = scaler

    def forward(self, features: Tensor) -> Tensor:
        """Return the scaled windows [N, T, F]."""
        return self.scaler(features.transpose(0, 1)).transpose(0, 1)


class Scoring(nn.Module):
    """Scores the stocks of a day from unscaled inputs.

    The day is taken to be later than all training days.

    Args:
        model: The model, with its weights and memory.
        features: The fitted scaler of the features.
        market: The fitted scaler of the market state.
    """

    def __init__(self, model: StockModel, features: Scaler, market: Scaler) -> None:
        super().__init__()
        self.model = model
        self.scaling = Scaling(features)
        self.market_scaler = market

    def forward(self, features: Tensor, concepts: Tensor, market: Tensor, memory: Tensor) -> Tensor:
        """Return scores [N].

        Args:
            features: [N, T, F], windows.
            concepts: [N, C], memberships in concepts.
            market: [M], market state.
            memory: [N, L, K], what the model remembers of the stocks, see `StockModel.recall`.
        """
        n = features.shape[0]
        unknown = features.new_full((n,), torch.nan)
        if market.shape[0]:
            market = self.market_scaler(market.view(1, 1, -1)).flatten()
        day = DayBatch(
            features=self.scaling(features),
            labels=unknown,
            returns=unknown,
            stocks=torch.arange(n, device=features.device),
            concepts=concepts,
            date=torch.tensor(LATER),
            market=market,
            memory=memory,
        )
        scores: Tensor = self.model(day)
        return scores.float()


def read_inputs(data: MarketDataModule, model: StockModel, row: int) -> Inputs:
    """Return the unscaled inputs of a day: ``features``, ``concepts``, ``market``, ``memory``.

    Args:
        data: The data, set up.
        model: The model, which may have a memory.
        row: Row of the calendar.
    """
    panels = data.days("train").panels
    stocks = panels.present[row].nonzero().squeeze(1)
    return {
        "features": panels.windows(row, stocks).transpose(0, 1).contiguous(),
        "concepts": panels.concepts.on(row, stocks),
        "market": panels.market.panel[row],
        "memory": model.recall(panels.day(row)),
    }


def trace(module: nn.Module, inputs: Inputs) -> ExportedProgram:
    """Export a module with a dynamic number of stocks.

    Args:
        module: `Scaling` or `Scoring`, in evaluation mode.
        inputs: Inputs of a day with at least two stocks.

    Raises:
        InputError: Its operations depend on the values of tensors, or on the number of stocks.
    """
    stocks = {0: Dim.DYNAMIC}
    shapes = {name: None if name == "market" else stocks for name in inputs}
    try:
        with torch.no_grad(), quiet():
            return torch.export.export(
                module, (), dict(inputs), dynamic_shapes=shapes, strict=False
            )
    except Exception as error:  # of any kind: torch runs the model on tensors without values
        raise refusal(module, error) from error


def refusal(module: nn.Module, error: Exception) -> InputError:
    """Describe why a model cannot be exported, and what its author can do."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return InputError(
        f"{name_of(module)} cannot be exported: {said or type(error).__name__}; forward may use "
        "neither values of tensors (.item(), .tolist(), boolean masks as indices) nor len(x) (use "
        "x.shape[0]), see docs/export.md; alphazoo predict needs no export"
    )


def name_of(module: nn.Module) -> str:
    """Return the name of the model in `Scoring`, for messages."""
    return type(getattr(module, "model", module)).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporters, whose warnings are about torch itself."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
