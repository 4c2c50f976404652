"""Errors that a user can act on; the command line prints them without a traceback."""

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from shlex import quote
from signal import Signals


class AlphazooError(Exception):
    """Base class of errors whose message needs no traceback."""


class DivergedError(AlphazooError, ArithmeticError):
    """A loss or score is not finite."""


class InputError(AlphazooError, ValueError):
    """An input is invalid; the message names it, what was expected and what was found."""


# errors that the environment or an input causes, by their module and name
OUTSIDE = (
    *("pyarrow.", "pandas.errors.", "pandas._libs.tslibs.", "yaml.", "zipfile.BadZipFile"),
    *("json.decoder.", "zlib.error", "gzip.BadGzipFile", "lightgbm.basic.LightGBMError"),
    *("lightning.fabric.utilities.exceptions.MisconfigurationException",),
    *("lightning.pytorch.utilities.exceptions.MisconfigurationException",),
    *("omegaconf.errors.", "hydra.errors."),
    *("torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError"),
)


READERS = ("hydra", "omegaconf", "yaml")  # they raise any error for a config that makes no sense


class JobsFailedError(AlphazooError):
    """Jobs of a sweep have no result."""


class PrunedError(Exception):
    """A trial of a search was stopped early because it did worse than others; not a failure."""


class StoppedError(BaseException):
    """A signal stopped the command; the last of its notes says how to go on.

    Args:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {Signals(number).name}")
        self.number = number


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


def describe_fault(error: BaseException) -> str | None:
    """Describe an error that a user, an input or the environment causes; None for a bug.

    Settings that Lightning refuses, files that cannot be read or written, and a lack of memory
    are such errors.

    Returns:
        The message in one line.
    """
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"out of memory{text and ': '}{text}"
    if isinstance(error, AlphazooError | OSError):
        return text or type(error).__name__
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__)
    if any(name.startswith(OUTSIDE) for name in names) or _raised_in(error) in READERS:
        said, _, place = text.partition(" full_key: ")  # of OmegaConf
        return f"{place.split()[0]}: {said}" if place else text or type(error).__name__
    return None


def _raised_in(error: BaseException) -> str:
    """Return the name of the package that raised an error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
    return str(name).partition(".")[0]


@contextmanager
def as_input_errors() -> Iterator[None]:
    """Raise an `InputError`, with its cause chained, for every error that is not a bug.

    A lack of memory and `AlphazooError` are raised unchanged.
    """
    try:
        yield
    except (AlphazooError, MemoryError):
        raise
    except Exception as error:
        text = describe_fault(error)
        if text is None:
            raise
        raise InputError(text) from error


def explain_grammar(given: str) -> str:
    """Describe an override that Hydra's grammar cannot read, and how to quote it."""
    key, separator, value = given.partition("=")
    said = f"cannot read {given!r}"
    if not separator:
        return f"{said}: expected KEY=VALUE"
    if given != given.strip():
        return f"{said}: it begins or ends with a space or line break; leave that out"
    return f"{said}: quote the text for Hydra and the shell: " + quote(f"{key}={quoted(value)}")


def quoted(text: str) -> str:
    """Quote a text for Hydra's grammar of overrides."""
    escaped = re.sub(r'(\\*)("|\Z)', lambda x: 2 * x[1] + (x[2] and r"\""), text)
    return f'"{escaped}"'
