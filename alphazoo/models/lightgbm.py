"""LightGBM: boosted regression trees on the flattened window, the baseline of the other models.

Ke et al., "LightGBM: a highly efficient gradient boosting decision tree", NeurIPS 2017.
https://proceedings.neurips.cc/paper/2017/hash/6449f44a102fde848669bdd9eb6b76fa-Abstract.html
The library of the same name, installed by the extra ``gbdt``, trains the trees. The file is long
because Lightning's hooks around that training are here.
"""

import copy
import hashlib
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import pandas as pd
import torch
from annotated_types import Ge
from lightning.pytorch.strategies import ParallelStrategy
from torch import Tensor

from alphazoo.bounds import Fraction, NonNegativeFloat, NonNegativeInt
from alphazoo.data.days import DayBatch
from alphazoo.data.seeds import epoch_seed
from alphazoo.errors import InputError
from alphazoo.models.base import StockModel
from alphazoo.models.probe import Probe

if TYPE_CHECKING:
    from lightgbm import Booster, Dataset

log = logging.getLogger(__name__)


class LightGBM(StockModel):
    """A sum of trees on the T x F columns of the window; each stock is scored independently.

    Each epoch adds ``trees_per_epoch`` trees, and each tree is fitted to all training days::

        rows = all stocks with a label on all training days
        G = sum over the rows of a leaf of (score of the trees so far - label), n = their number
        value of the leaf = -lr sign(G) max(|G| - lambda_l1, 0) / (n + weight_decay)

    Early stopping, the best epoch and the log therefore work as for every other model, in steps of
    one epoch; ``trainer.limit_train_batches`` has no effect. All rows have equal weight, whereas
    the other models give equal weight to all days. A scheduler changes the learning rate of later
    trees; the optimiser has no effect. Training runs in one process on the CPU, with the number of
    threads that torch uses, regardless of the device of the data.

    The published settings sample 0.8789 of the rows but do not set how often, so the library does
    not sample at all, which is ``bagging_freq=0``. The matrix of all rows, 4 bytes per value, stays
    in memory until its columns are binned, to 1 byte per value.

    A resumed run builds the same trees as an uninterrupted one, except with ``bagging_freq`` above
    0: the library then samples different rows.

    Args:
        trees_per_epoch: Number of trees added per epoch.
        num_leaves: Maximum number of leaves of a tree.
        max_depth: Maximum number of splits from the root to a leaf; -1 means no limit.
        min_data_in_leaf: Minimum number of rows in a leaf.
        feature_fraction: Fraction of the columns that a tree uses, sampled anew for each tree.
        bagging_fraction: Fraction of the rows that a tree uses.
        bagging_freq: Number of trees after which the rows are sampled again; 0 uses all rows.
        lambda_l1: L1 penalty on a leaf's value.
        lr: Learning rate: factor by which a leaf's value is multiplied.
        weight_decay: L2 penalty on a leaf's value, ``lambda_l2`` of the library.

    Attributes:
        booster: The trees as an object of the library; None before the first epoch.
    """

    differentiable = False
    fixed_loss = True
    booster: "Booster | None" = None
    _dataset: "Dataset | None" = None  # from the start of a fit until its first trees are built

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
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        if trees_per_epoch < 1:
            raise InputError(f"model.trees_per_epoch must be at least 1, got {trees_per_epoch}")
        self.trees_per_epoch = trees_per_epoch
        self.gains = Probe("weights", "step", "feature")
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
            "force_col_wise": True,  # else the library times two methods and uses the faster one
            "verbosity": -1,
        }

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N].

        Raises:
            InputError: There are no trees yet, or they were trained on another number of columns.
        """
        rows = day.features.detach().flatten(1).cpu().numpy()
        with _library():
            scores = self._trees().predict(rows, num_threads=torch.get_num_threads())
            if self.gains.observed:
                gain = torch.tensor(self._trees().feature_importance("gain"))
                self.gains(gain.view(day.features.shape[1:]).float())  # [T, F]
        return torch.as_tensor(scores, dtype=day.features.dtype, device=day.features.device)

    def importance(self) -> "pd.Series[float]":
        """Return by how much the splits on each column reduced the squared error, largest first."""
        trees = self._trees()
        gain = pd.Series(trees.feature_importance("gain"), index=trees.feature_name())
        return gain.sort_values(ascending=False, kind="stable")

    def contributions(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the SHAP values of the library for windows [N, T, F].

        Returns:
            [N, T, F], and the expected score [N], which they add to the score.
        """
        with _library():
            rows = features.detach().flatten(1).cpu().numpy()
            found = torch.as_tensor(self._trees().predict(rows, pred_contrib=True))
        return found[:, :-1].reshape(features.shape).float(), found[:, -1].float()

    def get_extra_state(self) -> dict[str, str]:
        """Return the trees as text and its digest, for a checkpoint."""
        trees = "" if self.booster is None else self.booster.model_to_string()
        return {"trees": trees, "digest": _digest(trees)}

    def set_extra_state(self, state: Mapping[str, str]) -> None:
        """Load the trees of a checkpoint.

        Raises:
            InputError: The text is damaged, which the library would not survive.
        """
        trees = state.get("trees") if isinstance(state, Mapping) else None
        if not isinstance(trees, str) or state.get("digest") != _digest(trees):
            raise InputError(
                "the trees of the LightGBM checkpoint are damaged, or an earlier version of "
                "alphazoo wrote them without a digest"
            )
        with _library() as lightgbm:
            self.booster = lightgbm.Booster(model_str=trees) if trees else None

    def setup(self, stage: str) -> None:
        """Check that the model can be trained in this environment.

        Raises:
            InputError: The library is not installed, or the days are split over processes.
        """
        with _library():
            if stage == "fit" and isinstance(self.trainer.strategy, ParallelStrategy):
                raise InputError(
                    "LightGBM trains in one process, on all its threads: use trainer=auto or "
                    "trainer=cpu, not a trainer that splits the days over processes"
                )

    def on_fit_start(self) -> None:
        """Limit the Trainer to one day per epoch; `training_step` uses all days at once."""
        self._limit = self.trainer.limit_train_batches
        self.trainer.limit_train_batches = int(self._limit > 0)

    def on_train_start(self) -> None:
        """Read the training days once for all epochs."""
        self.trainer.limit_train_batches = self._limit
        self._seed = torch.initial_seed()
        self._dataset = self._read()

    def training_step(self, day: DayBatch, index: int) -> Tensor:
        """Add the trees of an epoch; they are fitted to all training days, not to ``day``."""
        before = 0 if self.booster is None else self.booster.num_trees()
        self.booster = self._grow(self.trainer.optimizers[0].param_groups[0]["lr"])
        if self.booster.num_trees() == before:
            self.trainer.should_stop = True
            log.info(
                "stopped after %d trees: no further split lowers the loss; a smaller "
                "model.lambda_l1, model.weight_decay or model.min_data_in_leaf allows more",
                before,
            )
        loss = self.booster.eval_train()[0][2]
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=1)
        return torch.tensor(loss, requires_grad=True)  # the Trainer needs a gradient

    def configure_gradient_clipping(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing, because there is no gradient to clip."""

    def on_fit_end(self) -> None:
        """Free the training days."""
        self.booster = copy.deepcopy(self.booster)

    def _grow(self, rate: float) -> "Booster":
        """Return the trees with those of one more epoch added."""
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
                init_model=self.booster,  # keeps the trees of an earlier fit
                keep_training_booster=True,
            )
            self._dataset = None  # the booster holds it
            return booster

    def _seeds(self) -> dict[str, int]:
        """Return the library's seeds for the current epoch."""
        seed = epoch_seed(self._seed, self.current_epoch) % 2**31
        return {"feature_fraction_seed": seed, "bagging_seed": seed}

    def _read(self) -> "Dataset":
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            raise InputError(
                "LightGBM needs all training days: pass the Trainer a MarketDataModule, not a "
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


def _digest(trees: str) -> str:
    return hashlib.blake2b(trees.encode(), digest_size=16).hexdigest()


@contextmanager
def _library() -> Iterator[Any]:
    """Yield the library, and raise its errors as errors of this package.

    Raises:
        InputError: The library is not installed, or it rejects its input.
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
    """Return valid names for the T x F columns, with the age in days if T > 1."""
    plain = [re.sub(r'[\s\[\]{}":,]', "_", column) for column in columns]
    if window == 1:
        return plain
    return [f"{column}-{age}" for age in reversed(range(window)) for column in plain]
