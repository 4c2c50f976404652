"""Errors that a user can act on; the command line prints them without a traceback."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches


class AlphazooError(Exception):
    """Base class of errors whose message needs no traceback."""


class DivergedError(AlphazooError, ArithmeticError):
    """A loss or score is not finite."""


class InputError(AlphazooError, ValueError):
    """An input is invalid; the message names it, what was expected and what was found."""


class JobsFailedError(AlphazooError):
    """Jobs of a sweep have no result."""


class PrunedError(Exception):
    """A trial of a search was stopped early because it did worse than others; not a failure."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message: the closest known name, or the names available."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"available: {shorten(names, limit=20) or 'none'}"


def check_choice(what: str, value: str, known: Collection[str]) -> None:
    """Raise an `InputError` unless the value is a known one."""
    if value not in known:
        raise InputError(f"unknown {what} {value!r}; {did_you_mean(value, known)}")


def shorten(items: Iterable[object], limit: int = 5) -> str:
    """Join the first few items and count the rest, so that a list fits on one line."""
    texts = [str(item) for item in items]
    rest = len(texts) - limit
    return ", ".join(texts[:limit]) + (f" and {rest} more" if rest > 0 else "")
