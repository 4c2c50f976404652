"""Settings are checked here, before anything is read or written.

Every node of a config names a class or function by its ``_target_``. Its signature says which
arguments exist, of which type and, as in ``hidden_size: PositiveInt``, within which bounds; keys
that belong to no node have their types below. pydantic compares: Hydra's structured configs know
no bounds, and would repeat every signature. What a constructor refuses itself, such as two settings
that do not fit each other, is refused when `alphazoo.fit.try_nodes` makes the objects once.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_type_hints

from annotated_types import Ge, Le, Predicate
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue

from alphazoo.bounds import NonNegativeInt, PositiveInt, describe, fits, item_hint
from alphazoo.config import better
from alphazoo.errors import InputError, did_you_mean

Place = tuple[Any, ...]  # names and positions that lead to a value: ("trainer", "callbacks", 1)

HYDRA_KEYS = ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")
NODES = ("features", "scaler", "model", "optimizer", "trainer", "label", "datamodule")
OPTIONAL = ("averaging", "backtest")  # {} for none
RUN: Mapping[str, Any] = {
    "seed": Annotated[int, Ge(0), Le(2**32 - 1)],
    "folder": str,
    "ckpt": str | None,
    "init_from": str | None,
    "allow_leak": bool,
    "monitor": str,
    "mode": Literal["min", "max"],
    "patience": NonNegativeInt,
    "days_per_step": PositiveInt,
    "report": bool,
}
GROUPS: Mapping[str, Mapping[str, Any]] = {  # {} for none
    "walk_forward": {"months": PositiveInt, "rolling": bool, "warm_start": bool},
    "scheduler": {  # Lightning's LRSchedulerConfig, which has types but takes everything
        "scheduler": Any,
        "interval": Literal["epoch", "step"],
        "frequency": PositiveInt,
        "monitor": str | None,
        "strict": bool,
        "name": str | None,
        "reduce_on_plateau": bool,
    },
}


def _are_indices(text: str) -> bool:
    return re.fullmatch(r"-1|\d+(, *\d+)*,?", text) is not None


DEVICES = Annotated[str, Predicate(_are_indices), "text such as '0,1'"]
NARROWER: Mapping[Place, Any] = {  # than the signatures of Lightning, which then refuses the rest
    ("trainer", "max_epochs"): Annotated[int, Ge(-1)] | None,
    ("trainer", "devices"): Literal["auto"] | int | list[int] | DEVICES,
}


def check_settings(config: DictConfig, *groups: str) -> None:
    """Refuse a config in which a value is missing, or of a wrong type or range.

    A whole number where text is expected becomes text: ``ckpt=7`` is a file,
    ``data.benchmark=399300`` a symbol.

    Args:
        config: Of a run; changed in place where a number becomes text.
        groups: Keys of the config that are needed, such as ``"data"``; default is all.

    Raises:
        InputError: Names the key, its value and what is allowed.
    """
    unresolved = None
    # those of the run first, which nodes repeat
    for name in groups or sorted(map(str, config), key=lambda name: name not in RUN):
        try:
            value = _value(config, name)
        except InterpolationResolutionError as error:
            unresolved = unresolved or error  # a check of what it refers to says it better
            continue
        _check_key(config, name, value)
    for name in () if groups else (*RUN, *NODES):
        if name not in config:
            raise InputError(f"no value for {name}: give it as {name}=VALUE")
    if unresolved:
        raise unresolved
    if not groups:
        _check_mode(config.monitor, config.mode)


def _value(config: DictConfig, name: str) -> Any:
    if OmegaConf.is_missing(config, name):
        raise InputError(f"no value for {name}: give it as {name}=VALUE")
    value = config[name]
    if not OmegaConf.is_config(value):
        return value
    try:
        return OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = error.full_key
        raise InputError(f"no value for {key}: give it as {key}=VALUE") from error


def _check_key(config: DictConfig, name: str, value: Any) -> None:
    """Check a key at the top of a config, and all below it."""
    if name in RUN:
        _check(config, (name,), value, RUN[name])
    elif name in GROUPS:
        _check_group(config, name, value)
    elif (name in NODES or (name in OPTIONAL and value)) and not _is_node(value):
        raise InputError(f"{name}={_text(value)}: expected a choice of the group {name}")
    elif name == "logger":
        for key, logger in (value or {}).items():
            if not _is_node(logger):
                raise InputError(f"logger.{key}={_text(logger)}: expected a node with a _target_")
    for path, node in _nodes(value, (name,)):
        _check_node(config, path, node)


def _check_group(config: DictConfig, name: str, value: Any) -> None:
    if not value:
        return
    if not isinstance(value, Mapping):
        raise InputError(f"{name}={_text(value)}: expected a choice of the group {name}")
    for key, inner in value.items():
        if key not in GROUPS[name]:
            hint = did_you_mean(str(key), GROUPS[name])
            raise InputError(f"{name}.{key}={_text(inner)}: no such setting; {hint}")
        _check(config, (name, key), inner, GROUPS[name][key])


def _check_mode(monitor: str, mode: str) -> None:
    """A metric of the user may be better either way."""
    if re.search(r"(^|[/_])(loss|ic|icir)$", monitor) and mode != better(monitor):
        raise InputError(f"mode={mode}: expected {better(monitor)} for monitor={monitor}")


def _nodes(value: Any, path: Place) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """Every node with a target; callbacks are in lists."""
    if _is_node(value):
        yield path, value
    if isinstance(value, Mapping | list):
        for place, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _nodes(inner, (*path, place))


def _is_node(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def _check_node(config: DictConfig, path: Place, node: Mapping[str, Any]) -> None:
    try:
        target = get_object(node["_target_"])
    except Exception:  # of whatever kind: what Hydra makes of it, where it is needed, says more
        return
    parameters, hints = hints_of(target)
    takes_any = not parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name, value in node.items():
        place = (*path, name)
        if name in HYDRA_KEYS:
            continue
        if name in parameters:
            hint = NARROWER.get(place, hints.get(name, Any))
            if not _is_same(value, parameters[name].default):
                _check(config, place, value, hint)
        elif not takes_any:
            raise InputError(
                f"{_dotted(place)}={_text(value)}: {node['_target_']} has no such argument; "
                f"{did_you_mean(str(name), parameters)}"
            )


def hints_of(target: Any) -> tuple[Mapping[str, inspect.Parameter], Mapping[str, Any]]:
    """Arguments of a class or function, and the types of those that have one.

    Both are empty where nothing is known of them: not everything has a signature, and a type may be
    a name that exists for a type checker alone.
    """
    function = target.__init__ if inspect.isclass(target) else target
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return {}, {}
    try:
        return parameters, get_type_hints(function, include_extras=True)
    except Exception:  # of whatever kind: it runs what somebody wrote for readers
        return parameters, {}


def _is_same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)


def _check(config: DictConfig, path: Place, value: Any, hint: Any) -> None:
    """Check a value and all that it holds, except nodes, which are checked by themselves."""
    if _is_node(value):
        return
    container = Mapping if isinstance(value, Mapping) else list
    inner = item_hint(hint, container) if isinstance(value, Mapping | list) else None
    if inner is not None:
        for place, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            _check(config, (*path, place), item, inner)
    elif not fits(None if value == {} else value, hint):
        origin = _origin(config, path)
        parent = _node(config, origin[:-1])
        if parent is None or type(value) is not int or not fits(str(value), hint):
            raise InputError(f"{_dotted(origin)}={_text(value)}: expected {describe(hint)}")
        parent[origin[-1]] = str(value)


def _origin(config: DictConfig, path: Place) -> Place:
    """Where a user sets a value: ``data.embargo`` for ``datamodule.embargo``, which repeats it."""
    found: Place = ()
    for part in path:
        found = (*found, part)
        node = _node(config, found)
        if node is not None and node._is_interpolation():
            other = re.fullmatch(r"\$\{(\w[\w.]*)\}", str(node._value()))
            found = _origin(config, tuple(other[1].split("."))) if other else found
    return found


def _node(config: DictConfig, path: Place) -> Any:
    """None for what a resolver makes, which is nowhere in the config."""
    node: Any = config
    for part in path:
        if node is None or not OmegaConf.is_config(node) or node._is_interpolation():
            return None
        node = node._get_node(part)
    return node


def _dotted(path: Place) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).removeprefix(".")


def _text(value: Any) -> str:
    """A value as it is written on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
