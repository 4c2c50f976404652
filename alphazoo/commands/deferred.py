"""Runs the code of ``scipy.signal`` when it is used: torchmetrics imports it at every start.

torchmetrics only makes sure that it has a function ``hamming``, which a package for audio expects.
Its code, with all that it imports in turn, takes a sixth of the start of a command.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType
from typing import Any

DEFERRED = "scipy.signal"
_RUN = "_run_code"
_lock = RLock()


class _Deferred(ModuleType):
    """A module whose code runs when an attribute is read that it does not have yet."""

    @staticmethod
    def hamming(*args: Any, **kwargs: Any) -> Any:
        """What torchmetrics looks for, and would set to the same."""
        from scipy.signal import windows

        return windows.hamming(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        with _lock:
            run = vars(self).pop(_RUN, None)
            if run is not None:
                run()
                return getattr(self, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


class _DeferredLoader(Loader):
    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Deferred(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        path = vars(module).pop("__path__")  # an import of a submodule asks for it

        def run() -> None:
            module.__path__ = path
            self.loader.exec_module(module)

        vars(module)[_RUN] = run


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != DEFERRED:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _DeferredLoader(spec.loader)
        return spec


def defer_unused_imports() -> None:
    """Defer ``scipy.signal``, unless it is imported already."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
