"""Progress as one line: in place in a notebook and on a terminal, a line per epoch elsewhere."""

import io
import re
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from conftest import SMALL

from alphazoo.config import compose, instantiate
from alphazoo.data.module import MarketDataModule
from alphazoo.models.base import StockModel
from alphazoo.training import progress
from alphazoo.training.fit import fit
from alphazoo.training.progress import ProgressLine, show_progress

LINEAR = [*SMALL, "model=linear", "data/concepts=none"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Handle:
    """What a notebook's display returns: the texts that it has shown."""

    def __init__(self, text: str) -> None:
        self.texts = [text]

    def update(self, shown: dict[str, str], *, raw: bool) -> None:
        self.texts.append(shown["text/plain"])


def train(**options: Any) -> None:
    config = compose(*LINEAR)
    data: MarketDataModule = instantiate(config.datamodule)
    model: StockModel = instantiate(config.model)
    own = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    own |= {"accelerator": "cpu", "max_epochs": 2, "limit_train_batches": 5}
    L.Trainer(**own, callbacks=[ProgressLine()], **options).fit(model, data)


def test_where_lines_stay_each_epoch_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    train()
    lines = [line for line in capsys.readouterr().err.splitlines() if "epoch" in line]
    assert [re.sub(r"[\d.-]{4,}|[\d.]+(?= s)", "x", line) for line in lines] == [
        "epoch 1 of 2, val/ic x, val/rank_ic x, x s",
        "epoch 2 of 2, val/ic x, val/rank_ic x, x s",
        "2 epochs in x s, train/loss x, val/ic x, val/rank_ic x",
    ]


def test_on_a_terminal_the_line_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    train()
    text = terminal.getvalue()
    assert "\r\033[Kepoch 1 of 2, 20% of its days" in text
    assert text.count("\n") == 3


def test_all_runs_of_a_cell_share_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = SimpleNamespace(kernel=None, execution_count=1)
    shown: list[Handle] = []

    def display(data: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        shown.append(Handle(data["text/plain"]))
        return shown[-1]

    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: shell)
    monkeypatch.setattr("IPython.core.display_functions.display", display)
    train()
    train()
    shell.execution_count = 2
    train()
    assert len(shown) == 2
    assert all(handle.texts[-1].startswith("2 epochs in") for handle in shown)
    progress._lines.clear()


def test_a_disabled_line_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    line = ProgressLine()
    line.disable()
    line._say("epoch 1", lasting=True)
    assert capsys.readouterr().err == ""
    line.enable()
    line._say("epoch 1", lasting=True)
    assert capsys.readouterr().err == "epoch 1\n"


@pytest.mark.parametrize(
    ("notebook", "stdout", "stderr", "shown"),
    [
        (True, Terminal, Terminal, ProgressLine),
        (False, Terminal, io.StringIO, ProgressLine),
        (False, io.StringIO, Terminal, ProgressLine),  # where Lightning's bar writes
        (False, Terminal, Terminal, None),
    ],
)
def test_a_notebook_and_a_file_get_the_line_in_place_of_the_bar(
    monkeypatch: pytest.MonkeyPatch,
    notebook: bool,
    stdout: type[io.StringIO],
    stderr: type[io.StringIO],
    shown: type | None,
) -> None:
    monkeypatch.setattr(progress, "in_notebook", lambda: notebook)
    monkeypatch.setattr("sys.stdout", stdout())
    monkeypatch.setattr("sys.stderr", stderr())
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    bar = trainer.progress_bar_callback
    show_progress(trainer)
    assert type(trainer.progress_bar_callback) is (shown or type(bar))
    silent = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    show_progress(silent)
    assert silent.progress_bar_callback is None


def test_a_run_without_a_bar_trains_as_before(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    found = fit(compose(*LINEAR, f"folder={tmp_path}"))
    assert found.trainer.progress_bar_callback is None
    assert all(p.isfinite().all() for p in found.model.parameters() if isinstance(p, torch.Tensor))
