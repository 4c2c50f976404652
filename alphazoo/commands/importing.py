"""Imports of a command without garbage collection, which would double the time that they take."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from alphazoo.commands.deferred import defer_unused_imports


@contextmanager
def importing() -> Iterator[None]:
    """Pause garbage collection for imports, and never visit the objects of the modules again.

    A million objects are created that live as long as the process. Each collection, of which there
    are hundreds, visits many of them, and the exit of the process visits all: with PyTorch and
    Lightning, this takes 0.7 s of an import of 3 s, and another second at the exit. Objects that
    were created before are not visited again, either, so this is for the command line.
    """
    defer_unused_imports()
    enabled, modules = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > modules:  # else there is nothing to keep
            gc.freeze()
        if enabled:
            gc.enable()
