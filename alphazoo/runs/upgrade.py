"""Settings that earlier versions did not have, added to the config of a run that one of them made.

Each has the value with which the run does what it did then.
"""

from typing import Any

from omegaconf import DictConfig, OmegaConf

ADDED: dict[str, Any] = {
    "loss": {"_target_": "alphazoo.losses.pointwise.MSE"},
    "label.horizons": [],
    "label.half_life": None,
    "label.weight": None,
}
ADDED_TO_MODELS: dict[str, dict[str, Any]] = {
    f"alphazoo.models.{target}": {"blend": [1.0]}
    for target in ("gru.GRU", "lstm.LSTM", "linear.Linear", "mlp.MLP")
}


def upgrade(config: DictConfig) -> None:
    """Add the settings that a config lacks, in place."""
    added = dict(ADDED)
    model = OmegaConf.select(config, "model._target_")
    added |= {f"model.{key}": x for key, x in ADDED_TO_MODELS.get(str(model), {}).items()}
    for key, value in added.items():
        parent, _, name = key.rpartition(".")
        node = OmegaConf.select(config, parent) if parent else config
        if isinstance(node, DictConfig) and name not in node:
            OmegaConf.update(config, key, value, force_add=True)
