"""The help, the errors and the page of the commands, all from one catalog."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from conftest import MODELS, Alphazoo
from omegaconf import DictConfig, OmegaConf

from alphazoo.commands.catalog import COMMANDS, STATUS
from alphazoo.commands.yaml_keys import read_keys
from alphazoo.config import _keys, compose
from alphazoo.explain.subject import WHAT

ROOT = Path(__file__).parents[2]
SPECIAL = ("_target_", "_partial_", "_recursive_")


@pytest.mark.parametrize("arguments", ["--help", "train --help", "predict -h", "completion bash t"])
def test_help_imports_neither_torch_nor_hydra(arguments: str) -> None:
    script = (
        "import sys, alphazoo.cli as cli; cli.main(); "
        "print({'torch', 'pandas', 'hydra', 'omegaconf', 'filelock'} & {*sys.modules})"
    )
    command = [sys.executable, "-c", script, *arguments.split()]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout.endswith("\nset()\n"), result.stdout[-200:] + result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_what_it_does_its_arguments_and_examples(
    name: str, alphazoo: Alphazoo
) -> None:
    command, said = COMMANDS[name], alphazoo(*name.split(), "--help").out
    assert said.startswith(f"alphazoo {name}: {command.does}\n")
    assert all(f"\n  {argument}" in said for argument in command.arguments)
    assert said.count(f"\n  alphazoo {name}") == len(command.examples) >= 2
    assert max(map(len, said.splitlines())) <= 110 or name == "train"
    assert said != alphazoo("--help").out
    assert f"\n  {name} " in alphazoo("help").out


def keys_read(module: str) -> set[str]:
    """The arguments that the functions of a module look up in ``own``."""
    text = (ROOT / "alphazoo" / "commands" / f"{module}.py").read_text(encoding="utf-8")
    call = r'\bown(?:\.get\(|\[|, )"([\w.]+)"|"(\w+)" (?:not )?in own\b'
    needed = re.findall(r"{([^}]*)} <= {\*own}", text)  # {"run", "out"} <= {*own}
    return {one or other for one, other in re.findall(call, text)} | {
        word for words in needed for word in re.findall(r"\w+", words)
    }


@pytest.mark.parametrize(
    "module", sorted({x.function.partition(":")[0] for x in COMMANDS.values()})
)
def test_the_catalog_has_the_arguments_that_the_functions_read(module: str) -> None:
    commands = [x for x in COMMANDS.values() if x.function.startswith(f"{module}:")]
    code = import_module(f"alphazoo.commands.{module}")
    assert all(callable(getattr(code, x.function.partition(":")[2])) for x in commands)
    known = {key for command in commands for key in command.keys}
    columns = {key for key in known if key.startswith("columns.")}  # read in a loop
    assert keys_read(module) | columns == known


def test_the_words_of_an_error_are_those_of_the_help(alphazoo: Alphazoo) -> None:
    for name, command in COMMANDS.items():
        if name not in ("train", "benchmark", "models", "ensemble", "data check", "data audit"):
            code = alphazoo(*name.split()).code
            assert code == f"error: expected: alphazoo {name} {command.usage}"


def test_the_group_data_lists_its_commands(alphazoo: Alphazoo) -> None:
    said = alphazoo("data").out
    assert "data audit" in said
    assert "benchmark" not in said


def test_the_version_is_printed(alphazoo: Alphazoo) -> None:
    assert re.fullmatch(r"alphazoo \d+\.\d+\.\d+\S*\n", alphazoo("--version").out)


def test_the_help_of_explain_names_all_that_can_be_shown() -> None:
    said = COMMANDS["explain"].own["what=A,B"].partition(";")[0]
    assert said.split(", ") == [*WHAT]


def test_the_exit_statuses_of_help_and_page_are_the_same() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", text, re.MULTILINE))
    assert rows == STATUS


def test_help_of_train_follows_the_choices(alphazoo: Alphazoo, tmp_path: Path) -> None:
    assert "model.heads=" not in alphazoo("train", "--help").out
    assert "model.heads=1\n" in alphazoo("train", "model=gats", "--help").out
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "tiny.yaml").write_text("wings: 2\n", encoding="utf-8")
    said = alphazoo("train", "--config-dir", "mine", "model=tiny", "--help").out
    assert "model.wings=2\n" in said


def test_an_unknown_flag_is_an_error_with_status_1(alphazoo: Alphazoo) -> None:
    for arguments in (["--nosuch"], ["--cfg", "model=gru"], ["-m", "--mulitrun"]):
        result = alphazoo("train", *arguments)
        assert isinstance(result.code, str)
        assert result.code.startswith("error: ")
        assert "usage" not in result.err


# keys from the yaml files


CHOICES = [
    [],
    ["data=qlib", "data.path=x"],
    ["data=table", "data.path=x", "walk_forward=yearly"],
    ["experiment=alpha158_master", "data=qlib", "data.path=x"],
    ["logger=mlflow", "backtest=us", "backtest/strategy=long_short", "averaging=ema"],
    *([f"model={name}"] for name in MODELS),
]


@pytest.mark.parametrize("choices", CHOICES, ids=" ".join)
def test_the_keys_of_the_files_are_those_of_hydra(choices: list[str]) -> None:
    config = compose(*choices)
    composed = {key for key in _keys(config) if key.rpartition(".")[2] not in SPECIAL}
    nodes = {key for key in composed if OmegaConf.is_dict(config_node(config, key))}
    found = {key: value for key, value in read_keys(choices).items() if value != "{}"}
    assert {key for key in found if not key.startswith("hydra.")} == composed - nodes


def config_node(config: DictConfig, key: str) -> object:
    """The value of a key, which an interpolation is not."""
    *above, name = key.split(".")
    for part in above:
        config = config[part]
    return None if OmegaConf.is_interpolation(config, name) else config._get_node(name)
