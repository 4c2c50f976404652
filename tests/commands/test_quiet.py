"""What a command prints where no terminal is, and how little with ``--quiet``."""

import re
from pathlib import Path

import pytest
from conftest import SMALL, Alphazoo

TOLD = [*SMALL, "model=linear", "trainer.enable_progress_bar=true", "hydra.run.dir=out"]


def test_progress_is_a_line_per_epoch_where_no_terminal_is(
    alphazoo: Alphazoo, tmp_path: Path
) -> None:
    result = alphazoo("train", *TOLD)
    *epochs, last = result.err.splitlines()
    number = r"-?\d\.\d{4}"
    for i, line in enumerate(epochs):
        pattern = rf"epoch {i + 1} of 2, val/ic {number}, val/rank_ic {number}, \d+\.\d s"
        assert re.fullmatch(pattern, line)
    assert len(epochs) == 2
    assert last.startswith("2 epochs in ")
    assert "parameters, on cpu" in result.out
    assert "\r" not in result.out + result.err


@pytest.mark.parametrize("flag", ["-q", "--quiet"])
def test_quiet_leaves_the_result_alone(flag: str, alphazoo: Alphazoo, tmp_path: Path) -> None:
    result = alphazoo("train", *TOLD, flag)
    assert result.code == 0
    assert result.err == ""
    assert [line.split()[0] for line in result.out.splitlines()] == [
        *("loss", "valid", "test"),
        "results:",
    ]
    assert "parameters, on cpu" in (tmp_path / "out" / "train.log").read_text(encoding="utf-8")


def test_quiet_holds_for_a_sweep_and_a_resumed_run(alphazoo: Alphazoo) -> None:
    many = [*TOLD[:-1], "-m", "seed=1,2", "hydra.sweep.dir=many"]
    result = alphazoo("--quiet", "train", *many)
    assert result.code == 0
    assert result.err == ""
    assert "parameters, on cpu" not in result.out
    resumed = alphazoo("train", "-q", "run=many/0", "trainer.max_epochs=3")
    assert resumed.err == ""
    assert "resuming" not in resumed.out
    assert "results: many/0" in resumed.out


def test_errors_are_not_quiet(alphazoo: Alphazoo) -> None:
    assert str(alphazoo("train", "-q", "model=gatz").code).startswith("error: unknown model")
