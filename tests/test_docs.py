"""What can rot in README and docs: links, lists, settings without a meaning, commands, code."""

import ast
import re
import sys
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from conftest import MODELS
from documented import PAGES, README, ROOT, blocks, commands, write_own_files
from hydra.core.override_parser.types import Override

from alphazoo.commands.arguments import (
    compose_config,
    flags_as_keys,
    flags_first,
    split_arguments,
    take_config_dir,
)
from alphazoo.commands.catalog import COMMANDS, TRAIN
from alphazoo.commands.training import for_sweeper
from alphazoo.config import apply_overrides, compose, config_dir, parse
from alphazoo.errors import InputError

sys.path.append(str(ROOT / "docs"))

from _generate.meanings import describe_key, full_key
from _generate.settings import groups, own_keys

MADE = ("reference/", "notebooks/")  # by the build of the site, which checks these links


def anchors(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_is_short() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    assert len(text.split()) <= 1200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_is_dead(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
        name, _, anchor = (link[0] or link[1]).partition("#")
        if name.startswith(("http", *MADE)):
            continue
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name} links to {name}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {name}#{anchor}"


def test_links_are_checked() -> None:
    found = re.findall(r"\]\((\w+\.md)\)", (ROOT / "docs" / "start.md").read_text(encoding="utf-8"))
    assert "train.md" in found
    assert "citing-licence" in anchors(README)


@pytest.mark.parametrize("group", groups())
def test_each_setting_has_a_meaning(group: str) -> None:
    bare = [
        f"{full_key(file, key)} in {file.relative_to(config_dir())}"
        for file in groups()[group]
        for key in own_keys(file)
        if group not in ("experiment", "sweep") and not describe_key(file, key)
    ]
    assert not bare, "say in the docstring of its class, or in a comment, what it means"


def test_meanings_come_from_docstrings_and_comments() -> None:
    file = config_dir() / "model" / "gats.yaml"
    said = {full_key(file, key): describe_key(file, key) for key in own_keys(file)}
    assert said["model.heads"].startswith("Number of attention heads")
    assert said["model.heads"].endswith("<br>the paper: 8")
    file = config_dir() / "train.yaml"
    said = {full_key(file, key): describe_key(file, key) for key in own_keys(file)}
    assert said["ckpt"].startswith("last: resume the training run")  # two lines above it
    assert "datamodule.market" not in said


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("page", [README, ROOT / "docs" / "models.md"], ids=lambda page: page.name)
def test_each_model_is_in_the_table(page: Path, model: str) -> None:
    rows = re.findall(r"^\| ([^|]+)\|", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert any(f"`{model}`" in row for row in rows)


def test_each_extra_is_listed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    assert not [name for name in project["optional-dependencies"] if f"`{name}`" not in text]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_exists_and_its_settings_too(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in PAGES:  # a page may use what another shows
        write_own_files(other, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # --config-dir adds its folder
    for words in commands(page):
        name = " ".join(words[: 1 + (words[0] == "data")])
        if name == "COMMAND" or words[0].startswith("-"):
            continue
        assert name in COMMANDS, f"alphazoo {' '.join(words)}"
        given = [word.strip("[]") if word[0] == "[" else word for word in words]
        if not {"--help", "-h"} & {*given}:
            check_arguments(name, tuple(given[len(name.split()) :]))


@cache
def check_arguments(name: str, given: tuple[str, ...]) -> None:
    """Parse the arguments of a command, and compose and check the settings among them."""
    command = COMMANDS[name]
    rest = split_arguments(flags_as_keys([*given], "budget", "out"), name)[1]
    if name == "benchmark":
        rest = [for_sweeper(word) for word in rest]
    rest, folders = take_config_dir(rest)
    assert not folders or any("--config-dir" in text for text in command.arguments)
    flags_first([word for word in rest if word.startswith("-")])
    words = [word.replace("EXPERIMENT", "alpha360_gru") for word in rest if word[0] != "-"]
    settings = [word for word in words if "=" in word]
    assert settings == words or not re.match(r"(\[-m\] )?\[?[a-z_]+=", command.usage), (
        f"{name} {words}"
    )
    settings = [word for word in settings if not word.endswith(("=...", "=<name>"))]
    settings = [word for word in settings if not word.lstrip("+").startswith("hydra")]
    own = [f"--config-dir={folder}" for folder in folders]
    if not settings and not own:
        return
    assert command.settings or "KEY=VALUE" in command.own, f"{name} takes no {settings}"
    if command.settings == TRAIN:
        compose_config([*own, *map(first_choice, settings)])
        return
    limits = [word for word in settings if word.startswith("monitoring.")]
    compose_config(["+monitoring=daily", *limits], "monitoring")
    rest = [word for word in settings if word not in limits]
    assert any(fits(data, rest) for data in ("qlib", "table", "synthetic")), f"{name} {rest}"


def first_choice(word: str) -> str:
    """An override without the other values of a sweep or a search."""
    override, key = parse([word])[0], word.partition("=")[0]
    if override.is_interval_sweep():
        return f"{key}={override.value().start}"
    return f"{key}={override.value().list[0]}" if is_choice(override) else word


def is_choice(override: Override) -> bool:
    return bool(override.is_choice_sweep())


def fits(data: str, settings: list[str]) -> bool:
    """Whether a run on some data has the keys that settings change."""
    try:
        apply_overrides(compose(f"data={data}", "model=gats"), settings)
    except InputError:
        return False
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_python_block_compiles_and_imports_what_exists(page: Path) -> None:
    for code in blocks(page, "python"):
        tree = ast.parse(code, page.name)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("alphazoo"):
                module = import_module(str(node.module))
                assert not [x.name for x in node.names if not hasattr(module, x.name)]


def test_what_is_not_documented_truly_is_noticed() -> None:
    for arguments in (
        ("train", ("model=gatz",)),
        ("train", ("model.hidden_size=0",)),
        ("train", ("--nosuch",)),
        ("train", ("gru",)),
        ("predict", ("run=x", "data.paht=y")),
        ("export", ("run=x", "out=y", "fromat=onnx")),
        ("compare", ("a", "b", "trainer.max_epochs=3")),
        ("monitor", ("run=x", "monitoring.agee=1")),
    ):
        with pytest.raises((InputError, AssertionError)):
            check_arguments(*arguments)
