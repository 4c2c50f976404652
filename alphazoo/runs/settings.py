"""Settings are checked here, before anything is read or written.

Every node of a config names a class or function by its ``_target_``. Its signature says which
arguments exist, of which type and, as in ``hidden_size: PositiveInt``, within which bounds; keys
that belong to no node have their types in `alphazoo.runs.schema`. pydantic compares: Hydra's
structured configs know no bounds, and would repeat every signature. What a constructor refuses
itself, such as two settings that do not fit each other, is refused when
`alphazoo.training.fit.check_instantiable` makes the objects once.
"""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, get_type_hints

from hydra.utils import get_object
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue

from alphazoo.bounds import describe, fits, item_hint
from alphazoo.config import better
from alphazoo.errors import InputError, did_you_mean
from alphazoo.runs.schema import GROUPS, HYDRA_KEYS, NARROWER, NODES, OPTIONAL, OWN, RUN, Place
from alphazoo.runs.secrets import refuse_secrets


def check_settings(config: DictConfig, *needed: str) -> None:
    """Refuse a config in which a value is missing, or of a wrong type or range.

    A whole number where text is expected becomes text: ``ckpt=7`` is a file,
    ``data.benchmark=399300`` a symbol.

    Args:
        config: Of a run; changed in place where a number becomes text.
        needed: Keys in which no value may be missing, such as ``"data"``; default is all.

    Raises:
        InputError: Names the key, its value and what is allowed.
    """
    refuse_secrets(config)
    unresolved = None
    # keys of the run come first, because nodes repeat them
    for name in sorted(map(str, config), key=lambda name: name not in RUN):
        required = not needed or name in needed
        try:
            _check_key(config, name, _value(config, name, required=required))
        except InterpolationResolutionError as error:
            # the check of what it refers to has the better message
            unresolved = unresolved or (error if required else None)
    for name in () if needed else (*RUN, *NODES):
        if name not in config:
            raise _missing(name)
    if unresolved:
        raise unresolved
    if not needed:
        _check_mode(config.monitor, config.mode)


def check_sweeper(config: DictConfig) -> None:
    """Refuse a config of Hydra whose sweeper has a value of a wrong type or range.

    Args:
        config: With a folder in ``hydra.sweep.dir`` that need not be created to resolve it.

    Raises:
        InputError: Names the key, its value and what is allowed.
    """
    refuse_secrets(config.hydra.sweeper, "hydra.sweeper")
    settings = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
    for path, node in _nodes(settings, ("hydra", "sweeper")):
        _check_node(config, path, node)


def _value(config: DictConfig, name: str, *, required: bool) -> Any:
    if OmegaConf.is_missing(config, name):
        if required:
            raise _missing(name)
        return MISSING
    value = config[name]
    if not OmegaConf.is_config(value):
        return value
    try:
        return OmegaConf.to_container(value, resolve=True, throw_on_missing=required)
    except MissingMandatoryValue as error:
        raise _missing(error.full_key) from error


def _missing(key: Any) -> InputError:
    return InputError(f"no value for {key}: give it as {key}=VALUE")


def _check_key(config: DictConfig, name: str, value: Any) -> None:
    """Check a key at the top of a config, and all below it."""
    if name in RUN:
        _check(config, (name,), value, RUN[name])
    elif name in GROUPS and isinstance(value, Mapping):
        _check_all(config, (name,), value, GROUPS[name])
    elif value == MISSING or (not value and name in OPTIONAL):
        return
    elif name in (*NODES, *OPTIONAL) and not _is_node(value):
        expected = "its settings" if name in OWN else f"a choice of the group {name}"
        raise InputError(f"{name}={_text(value)}: expected {expected}")
    for key, logger in _items(value) if name == "logger" else ():
        if not _is_node(logger):
            raise InputError(f"logger.{key}={_text(logger)}: expected a node with a _target_")
    for path, node in _nodes(value, (name,)):
        _check_node(config, path, node)


def _check_mode(monitor: str, mode: str) -> None:
    """A metric of the user may be better either way."""
    if re.search(r"(^|[/_])(loss|criterion|ic|icir)$", monitor) and mode != better(monitor):
        raise InputError(f"mode={mode}: expected {better(monitor)} for monitor={monitor}")


def _nodes(value: Any, path: Place) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """Every node with a target; callbacks are in lists."""
    if _is_node(value):
        yield path, value
    for place, inner in _items(value):
        yield from _nodes(inner, (*path, place))


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


def _is_node(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def _check_node(config: DictConfig, path: Place, node: Mapping[str, Any]) -> None:
    try:
        target = get_object(node["_target_"])
    except Exception:  # of any kind: Hydra's own message, where the object is made, says more
        return
    parameters, hints = hints_of(target)
    allowed = {name: NARROWER.get((*path, name), hints.get(name, Any)) for name in parameters}
    if not parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        allowed = {**dict.fromkeys(node, Any), **allowed}
    for name, parameter in parameters.items():
        value = node.get(name)
        if type(value) is type(parameter.default) and value == parameter.default:
            allowed[name] = Any  # whatever the type says
    _check_all(config, path, node, {**allowed, **HYDRA_KEYS})


def hints_of(target: Any) -> tuple[Mapping[str, inspect.Parameter], Mapping[str, Any]]:
    """Arguments of a class or function, and the types of those whose type is known.

    Not everything has a signature, and a type may be a name that exists for a type checker alone.
    """
    function = inspect.unwrap(target.__init__ if inspect.isclass(target) else target)
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return {}, {}
    hints: dict[str, Any] = {}
    for name, hint in getattr(function, "__annotations__", {}).items():
        alone = SimpleNamespace(__annotations__={name: hint})
        with suppress(Exception):  # of any kind: it runs what somebody wrote for readers
            hints |= get_type_hints(alone, vars(inspect.getmodule(function)), include_extras=True)
    return parameters, hints


def _check_all(
    config: DictConfig, path: Place, given: Mapping[str, Any], allowed: Mapping[str, Any]
) -> None:
    for name, value in given.items():
        if name not in allowed:
            known = [key for key in allowed if key not in HYDRA_KEYS]
            key = f"{_dotted((*path, name))}={_text(value)}"
            raise InputError(f"{key}: no such setting; {did_you_mean(str(name), known)}")
        _check(config, (*path, name), value, allowed[name])


def _check(config: DictConfig, path: Place, value: Any, hint: Any) -> None:
    """Check a value and all that it holds, except nodes, which are checked by themselves."""
    if _is_node(value) or value == MISSING:
        return
    container = Mapping if isinstance(value, Mapping) else list
    inner = item_hint(hint, container) if isinstance(value, Mapping | list) else None
    if inner is not None:
        for place, item in _items(value):
            _check(config, (*path, place), item, inner)
    elif not fits(None if value == {} else value, hint):
        origin = _origin(config, path)
        parent = _node(config, origin[:-1])
        if parent is None or type(value) is not int or not fits(str(value), hint):
            raise _refusal(config, origin, value, hint)
        parent[origin[-1]] = str(value)


def _refusal(config: DictConfig, origin: Place, value: Any, hint: Any) -> InputError:
    key, shown, node = _dotted(origin), _text(value), _node(config, origin)
    if node is not None and node._is_interpolation():
        raw = str(node._value())
        shown = raw if "oc.env" in raw else f"{shown} ({raw})"  # a variable may hold a secret
    quotes = (
        f"; text that looks like another value needs quotes: \"{key}='TEXT'\""
        if isinstance(value, float | bool) and fits(str(value), hint)
        else ""
    )
    return InputError(f"{key}={shown}: expected {describe(hint)}{quotes}")


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
    text = str(value)
    if isinstance(value, str) and re.fullmatch(r"null|true|false|[+-]?[\d.]+(e[+-]?\d+)?|", text):
        return repr(text)
    return text
