"""Progress of a training run as a single line of text.

In a notebook the line updates in place, and all training runs of a cell share it: a loop over seeds
does not fill the page. On a terminal it updates as well; elsewhere each epoch prints a line.
"""

import sys
import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar

from alphazoo.training.quiet import QUIET, log_level

EVERY = 0.2  # seconds between two updates
LOSS = ("train/loss",)  # known when the epoch has ended, after its validation
SHOWN = ("val/ic", "val/rank_ic")

_lines: dict[int, Any] = {}  # display handle of a cell by its execution count; only of the last


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    if "ipykernel" not in sys.modules:
        return False
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def show_progress(trainer: L.Trainer) -> None:
    """Replace the progress bar of a trainer, if it has one, by a `ProgressLine`.

    On a terminal it keeps its bar; a file or a pipe would hold hundreds of states of it. With
    ``--quiet`` it has none.
    """
    bar = trainer.progress_bar_callback
    if bar is None:
        return
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    on_terminal = sys.stdout.isatty() and sys.stderr.isatty()  # Lightning's bar writes to stdout
    if log_level() == QUIET:
        callbacks.remove(bar)
    elif in_notebook() or not on_terminal:
        callbacks[callbacks.index(bar)] = ProgressLine()


class ProgressLine(ProgressBar):
    """A Lightning progress bar of one line: epoch, share of its days, and the last metrics.

    Runs use it in notebooks, and where output is no terminal. It writes to standard error. A
    trainer of your own gets it by ``L.Trainer(callbacks=[ProgressLine()])``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._start = self._epoch_start = self._last = 0.0

    def disable(self) -> None:
        """Show nothing; Lightning calls it on all processes but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Show progress again."""
        self._enabled = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        super().on_train_start(trainer, pl_module)
        self._start = time.monotonic()

    def on_train_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Start the clock of the epoch."""
        super().on_train_epoch_start(trainer, *_)
        self._epoch_start = time.monotonic()

    def on_train_batch_end(self, *args: Any) -> None:
        """Say how far the epoch is, a few times per second."""
        super().on_train_batch_end(*args)
        if time.monotonic() - self._last >= EVERY:
            self._last = time.monotonic()
            trainer = self.trainer
            done = trainer.fit_loop.epoch_loop.batch_progress.current.ready
            total = self.total_train_batches
            share = f", {done / total:.0%} of its days" if 0 < total < float("inf") else ""
            self._say(f"epoch {trainer.current_epoch + 1}{self._of()}{share}{self._metrics()}")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say what an epoch has reached."""
        super().on_validation_end(trainer, pl_module)
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            seconds = time.monotonic() - self._epoch_start
            text = f"epoch {trainer.current_epoch + 1}{self._of()}{self._metrics()}"
            self._say(f"{text}, {seconds:.1f} s", lasting=not in_notebook())

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say how long training took, and what the last epoch has reached."""
        super().on_train_end(trainer, pl_module)
        epochs = f"{trainer.current_epoch} epoch{'s'[: trainer.current_epoch != 1]}"
        seconds = time.monotonic() - self._start
        self._say(f"{epochs} in {seconds:.0f} s{self._metrics(*LOSS)}", lasting=True)

    def _of(self) -> str:
        most = self.trainer.max_epochs
        return f" of {most}" if most and most > 0 else ""

    def _metrics(self, *more: str) -> str:
        known = self.trainer.callback_metrics
        names = [name for name in (*more, *SHOWN) if name in known]
        return "".join(f", {name} {float(known[name]):.4f}" for name in names)

    def _say(self, text: str, *, lasting: bool = False) -> None:
        """Show a line; where lines cannot be replaced, only those that are to stay."""
        if not self._enabled:
            return
        if in_notebook():
            _show(text)
        elif sys.stderr.isatty():
            print(f"\r\033[K{text}", end="\n" if lasting else "", file=sys.stderr, flush=True)
        elif lasting:
            print(text, file=sys.stderr, flush=True)


def _show(text: str) -> None:
    """Replace the line of the running cell."""
    from IPython.core import display_functions
    from IPython.core.getipython import get_ipython

    cell = int(getattr(get_ipython(), "execution_count", 0))
    shown = {"text/plain": text}
    if cell in _lines:
        _lines[cell].update(shown, raw=True)
    else:
        display: Any = display_functions.display
        _lines.clear()
        _lines[cell] = display(shown, raw=True, display_id=True)
