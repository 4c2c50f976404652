"""What can rot in README and docs: links, lists, settings without a meaning, commands, code."""

import contextlib
import io
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import pytest
from conftest import MODELS

from alphazoo.cli import COMMANDS
from alphazoo.config import compose, config_dir, parse

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs"))

from _generate.meanings import describe_key, full_key  # noqa: E402
from _generate.settings import groups, own_keys  # noqa: E402

README = ROOT / "README.md"
CONTRIBUTING = ROOT / ".github" / "CONTRIBUTING.md"
PAGES = [README, CONTRIBUTING, *sorted((ROOT / "docs").glob("*.md"))]
MADE = ("reference/", "notebooks/")  # by the build of the site, which checks these links


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path) -> Iterator[list[str]]:
    """The calls of alphazoo on a page, each as a list of words."""
    for block in chain(blocks(page, "bash"), blocks(page, "")):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.partition("  #")[0].split("&&"):
                if part.strip().startswith("alphazoo "):
                    yield shlex.split(part)[1:]
    inline = re.findall(r"`alphazoo ([^`\n]+)`", page.read_text(encoding="utf-8"))
    yield from map(shlex.split, inline)


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
def test_each_command_exists_and_its_settings_too(page: Path) -> None:
    for words in commands(page):
        name = " ".join(words[: 1 + (words[0] == "data")])
        if name == "COMMAND" or words[0].startswith("-"):
            continue
        assert name in COMMANDS, f"alphazoo {' '.join(words)}"
        if name == "train" and "--config-dir" not in words and "--help" not in words:
            settings = [word for word in words[1:] if "=" in word and not word.startswith("run=")]
            settings = [word.replace("EXPERIMENT", "alpha360_gru") for word in settings]
            check_settings(tuple(word for word in settings if not word.endswith("=...")))


@cache
def check_settings(settings: tuple[str, ...]) -> None:
    """Compose a config with the first choice of each sweep, but without Hydra's own plugins."""
    plain = [word for word in settings if not word.startswith("hydra")]
    given = [
        f"{word.partition('=')[0]}={override.value().list[0]}"
        if (override := parse([word])[0]).is_choice_sweep()
        else word
        for word in plain
    ]
    compose(*given)


@pytest.mark.slow
def test_the_python_of_readme_prints_an_ic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(README, "python")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "README.md", "exec"), {})
    said = re.search(r"test IC (\S+)", printed.getvalue())
    assert said is not None
    assert float(said[1]) == pytest.approx(0.16, abs=0.02)
