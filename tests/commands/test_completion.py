"""Completion: what is offered, and real shells that are typed into."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from conftest import MODELS, Alphazoo

from alphazoo.commands.catalog import COMMANDS
from alphazoo.commands.completion import SCRIPTS, complete

OFFERS = [
    ("tr", ["train"]),
    ("data ", ["check", "audit", "export"]),
    ("nothing ", []),
    ("train model=", [f"model={name}" for name in MODELS]),
    ("train -m model=gats,ls", ["model=gats,lstm"]),
    ("train model=gats model.agg", ["model.aggregate="]),
    ("train data=qlib data.u", ["data.universe="]),
    ("train data=table data.u", []),
    ("train data=qlib data.c", ["data.concepts="]),
    ("train allow_leak=", ["allow_leak=true", "allow_leak=false"]),
    ("train data/con", ["data/concepts="]),
    ("train hydra.r", ["hydra.run.dir=", "hydra.run."]),
    ("train --mul", ["--multirun"]),
    ("predict run=", []),
    ("predict prec", ["precision="]),
    ("predict run=x model=", []),
    ("export run=x precision=i", ["precision=int8"]),
    ("ensemble a b by=z", ["by=zscore"]),
    ("explain checks=", ["checks=true", "checks=false"]),
    ("monitor monitoring=", ["monitoring=daily"]),
    ("models it", ["itransformer"]),
    ("completion ", ["bash", "zsh", "fish"]),
    ("compare runs/", []),
    ("train --config-dir ", []),
]


@pytest.mark.parametrize(("line", "words"), OFFERS, ids=[line for line, _ in OFFERS])
def test_words_that_fit_are_offered(line: str, words: list[str]) -> None:
    assert [*complete(line.split(" "))] == words


def test_all_commands_are_offered_with_what_they_do() -> None:
    found = complete([""])
    assert {*found} == {name.split()[0] for name in COMMANDS}
    assert found["train"] == COMMANDS["train"].does


def test_the_keys_of_a_run_are_those_of_its_config(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("data:\n  path: x\n  market: {}\nmodel:\n  wings: 2\n")
    assert [*complete(["predict", f"run={tmp_path}", "model."])] == ["model.wings="]


def test_choices_of_a_folder_of_the_user_are_offered(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tiny.yaml").write_text("wings: 2\n")
    told = ["train", "--config-dir", str(tmp_path)]
    assert [*complete([*told, "model=ti"])] == ["model=tiny"]
    assert [*complete([*told, "model=tiny", "model."])] == ["model.wings="]


def test_a_damaged_file_offers_nothing(tmp_path: Path, alphazoo: Alphazoo) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tiny.yaml").write_bytes(b"wings: [\xff")
    told = ["train", "--config-dir", str(tmp_path), "model=tiny"]
    assert [*complete([*told, "model.w"])] == []
    assert "groups and their choices" in alphazoo(*told, "--help").out


def test_an_unknown_shell_is_an_error(alphazoo: Alphazoo) -> None:
    assert (
        alphazoo("completion", "tcsh").code == "error: expected: alphazoo completion bash|zsh|fish"
    )


START = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "-i"],
}
READ = {
    "bash": "source <(alphazoo completion bash)",
    "zsh": "source <(alphazoo completion zsh)",
    "fish": "alphazoo completion fish | source",
}


@pytest.fixture(scope="module", params=SCRIPTS)
def shell(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[pexpect.spawn]:
    """A shell that has read its script, in a folder with the folder ``runs/mine``."""
    name = request.param
    if shutil.which(name) is None:
        pytest.skip(f"needs {name}")
    folder = tmp_path_factory.mktemp(name)
    (folder / "runs" / "mine").mkdir(parents=True)
    (folder / "bin").mkdir()
    program = folder / "bin" / "alphazoo"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m alphazoo "$@"\n')
    program.chmod(0o755)
    paths = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": ":".join(sys.path)}
    environment = {**os.environ, **paths, "HOME": str(folder), "TERM": "dumb"}
    child = pexpect.spawn(
        name, START[name], cwd=folder, env=environment, encoding="utf-8", dimensions=(40, 300)
    )
    child.sendline(f"{READ[name]}; echo rea''dy")
    child.expect("ready\r", timeout=60)
    yield child
    child.close(force=True)


TYPED = [
    ("alphazoo tra", "alphazoo train "),
    ("alphazoo data aud", "alphazoo data audit "),
    ("alphazoo train model=ga", "alphazoo train model=gats "),
    ("alphazoo train -m model=gru,ls", "alphazoo train -m model=gru,lstm "),
    ("alphazoo train data=qlib data.pa", "alphazoo train data=qlib data.path="),
    ("alphazoo predict run=ru", "alphazoo predict run=runs/"),
]


@pytest.mark.parametrize(("typed", "completed"), TYPED)
def test_a_shell_completes(shell: pexpect.spawn, typed: str, completed: str) -> None:
    """What the shell echoes is what stands on its line; the line is then cleared, not run."""
    shell.send(f"{typed}\t")
    shell.expect_exact(completed, timeout=30)
    shell.send("\x15")
