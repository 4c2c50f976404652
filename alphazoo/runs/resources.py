"""Resources of a run: its seconds, and the peak memory of its process."""

import ctypes
import gc
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning as L
import torch

PROCESS = Path("/proc/self")


class ResourceMonitor(L.Callback):
    """Measures resources from its creation on; a resumed run adds those of its checkpoint.

    Several runs may follow each other in one process; memory that an earlier run has freed is not
    counted. On systems other than Linux, the peak is measured since the start of the process.
    """

    def __init__(self) -> None:
        self._before: Mapping[str, float] = {}
        self._start = time.monotonic()
        _forget_peak()

    def total(self) -> dict[str, float]:
        """Return the resources used so far.

        Keys are ``seconds``, ``memory`` and, with a GPU, ``gpu_memory``; peaks in GB (1e9 bytes).
        """
        peaks = _peak()
        if torch.cuda.is_initialized():
            peaks["gpu_memory"] = torch.cuda.max_memory_allocated() / 1e9
        seconds = time.monotonic() - self._start + self._before.get("seconds", 0.0)
        most = {name: max(peak, self._before.get(name, 0.0)) for name, peak in peaks.items()}
        return {"seconds": seconds, **most}

    def state_dict(self) -> dict[str, Any]:
        """Return the resources used up to this checkpoint."""
        return self.total()

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Add the resources of a checkpoint; those used after it was saved are not counted.

        A checkpoint that is loaded only to score days adds nothing.
        """
        if trainer.state.fn == "fit":
            self._before = checkpoint["callbacks"].get(self.state_key, {})


def _forget_peak() -> None:
    """Return free memory to the system, and reset the peak to the memory in use."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
        with suppress(OSError):  # without permission, the peak covers the whole process
            (PROCESS / "clear_refs").write_text("5", encoding="ascii")
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def _peak() -> dict[str, float]:
    """Return the peak ``memory`` of the process in GB; empty if the system does not report it."""
    if sys.platform == "linux":
        for line in (PROCESS / "status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return {"memory": int(line.split()[1]) * 1024 / 1e9}
    if find_spec("resource") is None:  # Windows
        return {}
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}
