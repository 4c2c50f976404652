"""Find, compose, change and instantiate configs, and explain errors in them.

The file is long because errors of Hydra are explained where they are caught.
"""

import copy
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import (
    CompactHydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.utils import get_method
from hydra.utils import instantiate as hydra_instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from alphazoo.errors import InputError, as_input_errors, check_choice, did_you_mean, explain_grammar
from alphazoo.files import config_dir as config_dir
from alphazoo.files import new_folder

VERSION_BASE = "1.3"
NO_CHOICE = "Config group override must be a string or a list"  # Hydra's error for GROUP=null

# keys of a run that locate its files, that locate its data, and that repeat other keys
FILE_KEYS = (
    *("folder", "ckpt", "logger", "features.cache", "datamodule.features.cache"),
    *("trainer.default_root_dir", "trainer.logger"),
)
DATA_KEYS = ("data.path", "data.market", "datamodule.market")
DERIVED_KEYS = ("datamodule", "trainer.plugins", "trainer.callbacks")

# Hydra finds sweepers only in the namespace package hydra_plugins, which may span several folders
sys.path.append(str(Path(__file__).parent / "sweep" / "plugins"))


OmegaConf.register_new_resolver("len", len, replace=True)
# cached per config, so that the folder is created once
OmegaConf.register_new_resolver(
    "new_folder", lambda name: str(new_folder(name)), replace=True, use_cache=True
)
OmegaConf.register_new_resolver(
    "market_columns",
    lambda indices: get_method("alphazoo.data.state.state_columns")(indices),
    replace=True,
)


def better(metric: object) -> str:
    """Return ``"min"`` if a lower value of a metric is better, otherwise ``"max"``."""
    return "min" if str(metric).endswith(("loss", "criterion")) else "max"


OmegaConf.register_new_resolver("better", better, replace=True)


def compose(*overrides: str) -> DictConfig:
    """Compose the config of a run, for notebooks and tests.

    Args:
        overrides: As on the command line: ``compose("model=lstm", "trainer.max_epochs=2")``.

    Raises:
        InputError: An override cannot be read, or its key or choice is unknown.
    """
    with as_input_errors():
        try:
            return _compose("folder=runs/notebook", *overrides)
        except (CompactHydraException, OmegaConfBaseException) as error:
            raise InputError(explain_config_error(error, overrides)) from error
        except ValueError as error:
            if not str(error).startswith(NO_CHOICE):
                raise
            raise InputError(explain_config_error(error, overrides)) from error


def _compose(*given: str) -> DictConfig:
    with initialize_config_dir(str(config_dir()), version_base=VERSION_BASE):
        config = hydra_compose("train", overrides=[*given], return_hydra_config=True)
        return without_hydra(config)


def without_hydra(config: DictConfig) -> DictConfig:
    """Remove Hydra's own node from the config of a run.

    Raises:
        InputError: ``backtest=`` names an unknown choice. Hydra accepts it, because the group is
            optional: the user's own data may have no backtest of the same name.
    """
    chosen = config.hydra.runtime.choices
    if "backtest" not in config and chosen.get("backtest") not in (None, chosen.get("data")):
        known = GlobalHydra.instance().config_loader().get_group_options("backtest")
        check_choice("backtest", chosen.backtest, known)
    with open_dict(config):
        del config["hydra"]
    return config


def parse(overrides: Sequence[str]) -> list[Override]:
    """Parse overrides of the command line."""
    return OverridesParser.create().parse_overrides([*overrides])


def apply_overrides(config: DictConfig, overrides: Sequence[str]) -> None:
    """Change keys of a config that is already composed, such as that of a finished run.

    Args:
        config: The config, changed in place.
        overrides: As on the command line: ``["data.path=FOLDER", "+trainer.profiler=simple"]``.

    Raises:
        InputError: A key is unknown, or names a group, whose choice is fixed after composition.
    """
    for given in parse(overrides):
        key, value = given.key_or_group, given.value()
        known = _keys(config)
        if not given.is_add() and key not in known:
            raise InputError(f"unknown config key {key!r}; {did_you_mean(key, known)}")
        chosen = OmegaConf.select(config, key)
        if OmegaConf.is_dict(chosen) and chosen and not isinstance(value, dict):
            raise InputError(
                f"{given.input_line}: this config is already composed, so groups cannot be chosen; "
                f"set keys such as {key}.{min(map(str, chosen))}=..."
            )
        OmegaConf.update(config, key, value, force_add=True)


def instantiate(node: Any, **arguments: Any) -> Any:
    """Instantiate the object that a config node describes.

    Args:
        node: A node with ``_target_`` and arguments, which are passed as plain Python objects.
        arguments: Objects passed unchanged instead of the node's own arguments.

    Raises:
        InputError: There is no such object, or it refuses its arguments.
    """
    try:
        return _instantiate(node, arguments)
    except InstantiationException as error:
        if not isinstance(error.__cause__, InputError):
            raise InputError(explain_config_error(error, ())) from error
        refusal = error.__cause__
    raise refusal


def _instantiate(node: Any, arguments: Mapping[str, Any]) -> Any:
    rest = _copy(node)
    if not arguments:
        # without _convert_, checkpoints would hold OmegaConf lists, which safe loading refuses
        return hydra_instantiate(rest, _convert_="all")
    OmegaConf.set_struct(rest, False)
    for name in arguments:
        rest.pop(name, None)
    return hydra_instantiate(rest, _convert_="all", _partial_=True)(**arguments)


def _copy(node: Any) -> Any:
    """Copy a node with the config around it, in which Hydra resolves what the node refers to.

    The config of a run keeps its interpolations: ``data.path`` can be changed afterwards.
    """
    if not OmegaConf.is_config(node):
        return node
    key = node._get_full_key(None)
    root = copy.deepcopy(node._get_root())
    return OmegaConf.select(root, key) if key else root


def flatten(config: DictConfig, without: Sequence[str] = ()) -> dict[str, Any]:
    """Return the values of a config by dotted key, with interpolations resolved.

    Args:
        config: Config of a run; Hydra's own node is left out.
        without: Keys that are left out, including all keys below them.
    """
    found: dict[str, Any] = {}

    def walk(node: Mapping[Any, Any], prefix: str) -> None:
        for name, value in node.items():
            key = f"{prefix}{name}"
            if key in without or value == {}:
                continue
            if isinstance(value, Mapping):
                walk(value, f"{key}.")
            else:
                found[key] = value

    walk({name: _plain(config[name]) for name in config if name != "hydra"}, "")
    return found


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def explain_config_error(error: Exception, overrides: Sequence[str]) -> str:
    """Describe an error in a config in one line, with the closest match of an unknown name."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"unknown {group} {name!r}; {did_you_mean(name, error.options)}"
    if str(error).startswith(NO_CHOICE):
        return _explain_null(overrides)
    if isinstance(error, OverrideParseException):
        return explain_grammar(str(error.override))
    unknown = re.search(r"Could not override '([^'@]+)'", str(error))
    if unknown:
        key = unknown[1]
        hint = did_you_mean(key, _known_keys(overrides))
        return f"unknown config key {key!r}; {hint} (+{key}=... adds a new one)"
    text, _, key = str(error).partition("full_key: ")
    cause = error.__cause__ if isinstance(error, InstantiationException) else None
    said = " ".join(str(cause or text).split())
    return f"{key.split()[0]}: {said}" if key.strip() else said


def _explain_null(overrides: Sequence[str]) -> str:
    """Describe the error of GROUP=null or GROUP=3, in which Hydra does not name the group."""
    for given in overrides:
        group, _, value = given.partition("=")
        options = sorted(file.stem for file in (config_dir() / group).glob("*.yaml"))
        if options and re.fullmatch(r"null|true|false|[+-]?[\d.]+", value, re.IGNORECASE):
            return f"{given}: expected a choice of the group {group}: {', '.join(options)}"
    return "the choice of a config group is null or a number: expected its name"


def _known_keys(overrides: Sequence[str]) -> list[str]:
    """Return the dotted keys of a config with the groups that some overrides choose."""
    groups = [path.name for path in config_dir().iterdir() if path.is_dir()]
    choices = [o.partition(",")[0] for o in overrides if o.partition("=")[0] in groups]
    try:
        return _keys(_compose(*choices))
    except (CompactHydraException, OmegaConfBaseException):  # a choice from --config-dir
        return _keys(_compose())


def _keys(config: DictConfig, prefix: str = "") -> list[str]:
    """Return the dotted keys of a config; interpolations are not followed."""
    keys: list[str] = []
    for name in map(str, config):
        keys.append(f"{prefix}{name}")
        child = config._get_node(name)
        if isinstance(child, DictConfig) and not child._is_interpolation():
            keys += _keys(child, f"{prefix}{name}.")
    return keys
