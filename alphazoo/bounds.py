"""Types of settings: the bounds that signatures state, whether a value fits, and how to say it.

A signature states a bound where no constructor checks it: ``hidden_size: PositiveInt``.
"""

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt

PositiveInt = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
Probability = Annotated[float, Ge(0), Lt(1)]  # of dropout, where 1 would leave nothing
Fraction = Annotated[float, Gt(0), Le(1)]
Share = Annotated[float, Gt(0), Lt(1)]

# a value has exactly this type: no "3" for 3, no 1 for true; other types may be read from text
EXACT = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
WORDS = {**EXACT, NoneType: "null", Path: "text", Any: "any value"}
LIMITS = {Ge: "at least {0.ge}", Gt: "above {0.gt}", Le: "at most {0.le}", Lt: "below {0.lt}"}


def alternatives(hint: Any) -> list[Any]:
    """The types that a union is made of, each with the bounds of the whole."""
    if get_origin(hint) is Annotated:
        inner, *bounds = get_args(hint)
        kinds = alternatives(inner)
        return [kind if kind is NoneType else Annotated[(kind, *bounds)] for kind in kinds]
    if get_origin(hint) in (Union, UnionType):
        return [kind for part in get_args(hint) for kind in alternatives(part)]
    return [hint]


def item_hint(hint: Any, container: type[Mapping[Any, Any]] | type[list[Any]]) -> Any:
    """The type of the values of a mapping, or of the items of a list.

    Args:
        hint: Of the whole.
        container: What the whole is.

    Returns:
        None where the type allows no such container.
    """
    found = []
    for kind in map(_plain, alternatives(hint)):
        if _container(kind) is container:
            args = [arg for arg in get_args(kind) if arg is not ...]
            found += (args[1:] if container is Mapping else args) or [Any]
    return Union[tuple(found)] if found else None  # noqa: UP007  # of as many as there are


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type and within its bounds.

    A number is finite, unless the type says ``Le(math.inf)``. A type that pydantic does not know
    allows every value.
    """
    return any(_fits(value, kind) for kind in alternatives(hint))


def _fits(value: Any, kind: Any) -> bool:
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    plain = _plain(kind)
    if _container(plain) and not isinstance(value, Mapping | list):
        return False
    config = ConfigDict(
        strict=plain in EXACT or get_origin(plain) is Literal,
        arbitrary_types_allowed=True,
        allow_inf_nan=Le(math.inf) in get_args(kind),
    )
    try:
        with warnings.catch_warnings(action="ignore"):  # of pydantic, of types it does not know
            TypeAdapter(kind, config=config).validate_python(value)
    except ValidationError:
        return False
    except Exception:  # of whatever kind: hints are written for readers, too
        return True
    return True


def describe(hint: Any) -> str:
    """What a type allows, in words: ``a whole number (at least 1) or null``."""
    kinds = alternatives(hint)
    *said, last = dict.fromkeys(word for kind in kinds for word in _describe(kind)) or [
        f"a _target_ that makes {' or '.join(map(_name, kinds))}"
    ]
    return f"{', '.join(said)} or {last}" if said else last


def _describe(kind: Any) -> list[str]:
    """Nothing for objects, which a config cannot hold."""
    plain, bounds = _plain(kind), get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    container = _container(plain)
    if own := [bound for bound in bounds if isinstance(bound, str)]:
        return own
    if get_origin(plain) is Literal:
        return [*map(str, get_args(plain))]
    if plain is Callable or get_origin(plain) is Callable:
        return ["a function"]
    if container:
        return ["a mapping" if container is Mapping else "a list"]
    limits = [
        "inf included" if bound == Le(math.inf) else LIMITS[type(bound)].format(bound)
        for bound in bounds
        if type(bound) in LIMITS
    ]
    if plain not in WORDS:
        return []
    return [f"{WORDS[plain]} ({', '.join(limits)})" if limits else WORDS[plain]]


def _name(kind: Any) -> str:
    return getattr(_plain(kind), "__name__", str(kind))


def _plain(kind: Any) -> Any:
    """A type without bounds."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _container(kind: Any) -> type[Mapping[Any, Any]] | type[list[Any]] | None:
    """Mapping or list, for all types that are filled from one: tuples, sets, iterables."""
    origin = get_origin(kind) or kind
    standard = getattr(origin, "__module__", "") in ("builtins", "collections", "collections.abc")
    if not inspect.isclass(origin) or not standard or origin in (str, bytes, Callable):
        return None
    if issubclass(origin, Mapping):
        return Mapping
    return list if issubclass(origin, Iterable) else None
