"""Give a model the loss of a config, after checking that the two fit each other and the labels."""

from omegaconf import DictConfig

from alphazoo.config import instantiate
from alphazoo.data.labels import Label
from alphazoo.errors import InputError
from alphazoo.losses.base import Loss
from alphazoo.losses.pointwise import MSE
from alphazoo.models.base import StockModel


def set_objective(model: StockModel, config: DictConfig) -> None:
    """Set what a model learns from: the loss, and the horizons of the label.

    Raises:
        InputError: The model cannot learn by the loss, or from the horizons or weights.
    """
    loss: Loss = instantiate(config.get("loss")) or MSE()
    label: Label = instantiate(config.label)
    if not isinstance(loss, Loss):
        raise InputError(f"loss._target_={config.loss._target_}: expected a subclass of Loss")
    if model.fixed_loss:
        _check_fixed(type(model).__name__, loss, label)
    _check_outputs(model, loss, len(label.horizons))
    model.criterion = loss
    if label.horizons:
        model.log_horizons(label.horizons)


def _check_fixed(name: str, loss: Loss, label: Label) -> None:
    if not isinstance(loss, MSE):
        raise InputError(f"{name} has a loss of its own: expected loss=mse")
    for setting in ("horizons", "half_life", "weight"):
        if getattr(label, setting):
            raise InputError(
                f"{name} has a loss of its own, which does not use label.{setting}; leave it out"
            )


def _check_outputs(model: StockModel, loss: Loss, n_horizons: int) -> None:
    name, outputs = type(model).__name__, model.n_outputs
    if loss.n_outputs != 1:
        if outputs != loss.n_outputs:
            raise InputError(
                f"the loss {type(loss).__name__} needs a model of {loss.n_outputs} outputs per "
                f"stock, but {name} has {outputs}: set model=gru model.blend=[1,0], or model=lstm, "
                "linear or mlp likewise"
            )
    elif outputs not in (1, n_horizons):
        raise InputError(
            f"{name} has {outputs} outputs per stock (model.blend), but there are "
            f"{n_horizons or 'no'} label.horizons: expected 1 output, or one per horizon"
        )
