"""What a run costs: seconds, and the most memory that its process held."""

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


class Cost(L.Callback):
    """Counts from the moment it is made; a training that goes on counts on from its checkpoint.

    Several runs may follow each other in one process: what an earlier one has freed is not counted.
    Where the system is not Linux the memory is that of the process since its own start.
    """

    def __init__(self) -> None:
        self._before: Mapping[str, float] = {}
        self._start = time.monotonic()
        _forget_peak()

    def total(self) -> dict[str, float]:
        """So far: ``seconds``, ``memory`` and, with a GPU, ``gpu_memory``, in GB (1e9 bytes)."""
        peaks = _peak()
        if torch.cuda.is_initialized():
            peaks["gpu_memory"] = torch.cuda.max_memory_allocated() / 1e9
        seconds = time.monotonic() - self._start + self._before.get("seconds", 0.0)
        most = {name: max(peak, self._before.get(name, 0.0)) for name, peak in peaks.items()}
        return {"seconds": seconds, **most}

    def state_dict(self) -> dict[str, Any]:
        """What was spent until this checkpoint."""
        return self.total()

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Go on from a checkpoint; what was spent after it is lost and not counted.

        Weights that are read to score days bring nothing along.
        """
        if trainer.state.fn == "fit":
            self._before = checkpoint["callbacks"].get(self.state_key, {})


def _forget_peak() -> None:
    """Give back what is free, and let the peak begin at what is held now."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
        with suppress(OSError):  # where it is not allowed the peak is that of the whole process
            (PROCESS / "clear_refs").write_text("5")
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def _peak() -> dict[str, float]:
    """Most ``memory`` that the process held, in GB; nothing where the system does not say."""
    if sys.platform == "linux":
        for line in (PROCESS / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return {"memory": int(line.split()[1]) * 1024 / 1e9}
    if find_spec("resource") is None:  # Windows
        return {}
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}
