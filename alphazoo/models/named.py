"""The base class of models with weights for each name of a list, such as the stocks of a universe.

Such a model fits no other list: a checkpoint stores the names, and they are compared.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from alphazoo.data.module import MarketDataModule
from alphazoo.models.base import StockModel


class NamedModel(StockModel, ABC):
    """A model whose weights belong to names.

    Attributes:
        names: The names, once a data module or a checkpoint has given them.
        names_key: Where a checkpoint stores them.
        of_concepts: Whether they are the names of concepts.
    """

    names: list[str] | None = None
    names_key: str
    of_concepts = False

    @abstractmethod
    def names_in(self, data: MarketDataModule) -> Sequence[str]:
        """Return the names of the data.

        Raises:
            InputError: Their number is not that of the model.
        """

    @abstractmethod
    def refuse_names(self, known: Sequence[str], other: Sequence[str]) -> Exception:
        """Return the error for data or a checkpoint with other names than those known."""

    def setup(self, stage: str) -> None:
        """Compare the names of the data with those of the model.

        Raises:
            InputError: They differ.
        """
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, MarketDataModule):
            self._use(list(self.names_in(data)))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the names, too."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["alphazoo"][self.names_key] = self.names

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Compare the names, too."""
        super().on_load_checkpoint(checkpoint)
        stored = checkpoint["alphazoo"][self.names_key]
        if stored is not None:
            self._use(stored)

    def _use(self, names: list[str]) -> None:
        if self.names is not None and names != self.names:
            raise self.refuse_names(self.names, names)
        self.names = names
