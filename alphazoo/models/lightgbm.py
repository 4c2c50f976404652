"""LightGBM: boosted regression trees on the flattened window, what the others are measured by.

Ke et al., "LightGBM: a highly efficient gradient boosting decision tree", NeurIPS 2017.
https://proceedings.neurips.cc/paper/2017/hash/6449f44a102fde848669bdd9eb6b76fa-Abstract.html
The trees are made by the library of that name, the extra ``gbdt``.
"""

import copy
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import pandas as pd
import torch
from annotated_types import Ge
from lightning.pytorch.strategies import ParallelStrategy
from torch import Tensor

from alphazoo.bounds import Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat
from alphazoo.data.days import DayBatch
from alphazoo.errors import InputError
from alphazoo.models.base import StockModel
from alphazoo.seeds import epoch_seed

if TYPE_CHECKING:
    from lightgbm import Booster, Dataset

log = logging.getLogger(__name__)


class LightGBM(StockModel):
    """A sum of trees on the T F columns of the window; each stock is scored by itself.

    An epoch adds ``trees_per_epoch`` trees, each of which looks at all train days at once::

        rows = the stocks of all train days that have a label
        G = sum over the rows of a leaf of (score of the trees so far - label), n = their number
        value of the leaf = -lr sign(G) max(|G| - lambda_l1, 0) / (n + weight_decay)

    So early stopping, the best epoch and the log are those of every other model, in steps of an
    epoch, and ``trainer.limit_train_batches`` has no effect. Each row has the same weight, where
    other models give it to each day. A scheduler changes the rate of later trees; the choice of
    optimizer changes nothing. It trains in one process, on as many threads as torch has, on the
    CPU, whatever the device of the days.

    The published settings draw 0.8789 of the rows, but never say how often, so that the library
    does not draw at all: that is ``bagging_freq=0``. The matrix of all rows, 4 bytes per column, is
    in memory until its columns are binned, to 1 byte each.

    A training that was stopped and goes on makes the same trees, save with ``bagging_freq`` above
    0: the library then draws other rows than it would have.

    Args:
        trees_per_epoch: Trees that an epoch adds.
        num_leaves: Most leaves of a tree.
        max_depth: Most splits from the root to a leaf; -1: any.
        min_data_in_leaf: Least rows of a leaf.
        feature_fraction: Share of the columns that a tree sees, drawn anew for each.
        bagging_fraction: Share of the rows that a tree sees.
        bagging_freq: Rows are drawn anew after so many trees; 0: all rows, always.
        lambda_l1: Penalty on the size of a leaf's value.
        lr: Learning rate: the share of its value that a leaf adds.
        weight_decay: L2 penalty on a leaf's value, ``lambda_l2`` of the library.

    Attributes:
        booster: The trees, for whatever the library can do with them; None before the first epoch.
    """

    booster: "Booster | None" = None
    _dataset: "Dataset | None" = None  # from the start of a fit until its first trees

    def __init__(
        self,
        *,
        trees_per_epoch: int,
        num_leaves: Annotated[int, Ge(2)],
        max_depth: int,
        min_data_in_leaf: NonNegativeInt,
        feature_fraction: Fraction,
        bagging_fraction: Fraction,
        bagging_freq: NonNegativeInt,
        lambda_l1: NonNegativeFloat,
        lr: PositiveFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        if trees_per_epoch < 1:
            raise InputError(f"model.trees_per_epoch is 1 or more, got {trees_per_epoch}")
        self.trees_per_epoch = trees_per_epoch
        self.settings: dict[str, Any] = {
            "objective": "regression",
            "metric": "l2",
            "num_leaves": num_leaves,
            "max_depth": max_depth,
            "min_data_in_leaf": min_data_in_leaf,
            "feature_fraction": feature_fraction,
            "bagging_fraction": bagging_fraction,
            "bagging_freq": bagging_freq,
            "lambda_l1": lambda_l1,
            "lambda_l2": weight_decay,
            "deterministic": True,
            "force_col_wise": True,  # else the library times two ways and takes the faster one
            "verbosity": -1,
        }

    def forward(self, day: DayBatch) -> Tensor:
        """Score the stocks of a day: [N].

        Raises:
            InputError: There are no trees yet, or they are for another number of columns.
        """
        rows = day.features.detach().flatten(1).cpu().numpy()
        with _library():
            scores = self._trees().predict(rows, num_threads=torch.get_num_threads())
        return torch.as_tensor(scores, dtype=day.features.dtype, device=day.features.device)

    def importance(self) -> "pd.Series[float]":
        """What the splits on each column took off the squared error, the largest first."""
        trees = self._trees()
        gain = pd.Series(trees.feature_importance("gain"), index=trees.feature_name())
        return gain.sort_values(ascending=False, kind="stable")

    def get_extra_state(self) -> str:
        """The trees as text, for a checkpoint."""
        return "" if self.booster is None else self.booster.model_to_string()

    def set_extra_state(self, state: str) -> None:
        """Take the trees of a checkpoint."""
        with _library() as lightgbm:
            self.booster = lightgbm.Booster(model_str=state) if state else None

    def setup(self, stage: str) -> None:
        """Say at once what would stop the fit.

        Raises:
            InputError: The library is not installed, or the days are split over processes.
        """
        with _library():
            if stage == "fit" and isinstance(self.trainer.strategy, ParallelStrategy):
                raise InputError(
                    "LightGBM trains in one process, on all its threads: take trainer=auto or "
                    "trainer=cpu, not one that splits the days over processes"
                )

    def on_fit_start(self) -> None:
        """Have the Trainer make one day per epoch: no other is needed, see `training_step`."""
        self._limit = self.trainer.limit_train_batches
        self.trainer.limit_train_batches = int(self._limit > 0)

    def on_train_start(self) -> None:
        """Read the train days, once for all epochs."""
        self.trainer.limit_train_batches = self._limit
        self._seed = torch.initial_seed()
        self._dataset = self._read()

    def training_step(self, day: DayBatch, index: int) -> Tensor:
        """Add the trees of an epoch, which learn from all train days, not from this one."""
        before = 0 if self.booster is None else self.booster.num_trees()
        self.booster = self._grow(self.trainer.optimizers[0].param_groups[0]["lr"])
        if self.booster.num_trees() == before:
            self.trainer.should_stop = True
            log.info(
                "stopped: no split lowers the loss any more, after %d trees; a smaller "
                "model.lambda_l1, weight_decay or min_data_in_leaf allows more",
                before,
            )
        loss = self.booster.eval_train()[0][2]
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=1)
        return torch.tensor(loss, requires_grad=True)  # for the Trainer, which asks for a gradient

    def configure_gradient_clipping(self, *args: Any, **kwargs: Any) -> None:
        """There is no gradient to clip."""

    def on_fit_end(self) -> None:
        """Free the train days."""
        self.booster = copy.deepcopy(self.booster)

    def _grow(self, rate: float) -> "Booster":
        """The trees with those of one more epoch."""
        with _library() as lightgbm:
            if self._dataset is None:
                grown = self._trees()
                grown.reset_parameter({"learning_rate": rate, **self._seeds()})
                for _ in range(self.trees_per_epoch):
                    grown.update()
                return grown
            booster: Booster = lightgbm.train(
                {
                    **self.settings,
                    "learning_rate": rate,
                    "seed": self._seed % 2**31,
                    **self._seeds(),
                    "num_threads": torch.get_num_threads(),
                },
                self._dataset,
                num_boost_round=self.trees_per_epoch,
                init_model=self.booster,  # those of an earlier fit stay
                keep_training_booster=True,
            )
            self._dataset = None  # the booster has it
            return booster

    def _seeds(self) -> dict[str, int]:
        """Of what is drawn in an epoch, for the library."""
        seed = epoch_seed(self._seed, self.current_epoch) % 2**31
        return {"feature_fraction_seed": seed, "bagging_seed": seed}

    def _read(self) -> "Dataset":
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            raise InputError(
                "LightGBM learns from all train days: give the Trainer a MarketDataModule, not a "
                "loader"
            )
        days, names = data.train_days(), _names(data.features.columns, data.features.window)
        rows, labels = torch.empty(days.n_labels, len(names)), torch.empty(days.n_labels)
        end = 0
        for day in days:
            known = day.labels.isfinite()
            start, end = end, end + int(known.sum())
            rows[start:end] = day.features[known].flatten(1)
            labels[start:end] = day.labels[known]
        with _library() as lightgbm:
            dataset: Dataset = lightgbm.Dataset(rows.numpy(), labels.numpy(), feature_name=names)
        return dataset

    def _trees(self) -> "Booster":
        if self.booster is None:
            raise InputError("LightGBM has no trees yet: fit it, or load a checkpoint")
        return self.booster


@contextmanager
def _library() -> Iterator[Any]:
    """The library; its errors as those of this package.

    Raises:
        InputError: It is not installed, or refuses what it is given.
    """
    try:
        import lightgbm
    except ImportError as error:
        raise InputError(
            "model=lightgbm needs the library lightgbm: pip install 'alphazoo[gbdt]'"
        ) from error
    try:
        yield lightgbm
    except lightgbm.basic.LightGBMError as error:
        raise InputError(f"LightGBM: {error}") from error


def _names(columns: list[str], window: int) -> list[str]:
    """Names of the T F columns, with the age in days where T > 1, as the library can take them."""
    plain = [re.sub(r'[\s\[\]{}":,]', "_", column) for column in columns]
    if window == 1:
        return plain
    return [f"{column}-{age}" for age in reversed(range(window)) for column in plain]
