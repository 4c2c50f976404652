"""Opening the folder of a run."""

from pathlib import Path

import pytest
from conftest import Alphazoo, small_config
from omegaconf import OmegaConf

from alphazoo.config import flatten
from alphazoo.errors import InputError
from alphazoo.runs.run import Run


def write_run(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(small_config()))
    return folder


@pytest.mark.parametrize(
    "command",
    [
        *(["predict", "run=old"], ["train", "run=old"]),
        *(["ensemble", "old", "old", "out=new"], ["compare", "old", "out=new"]),
    ],
)
def test_a_run_of_an_earlier_layout_is_refused_in_one_line(
    alphazoo: Alphazoo, tmp_path: Path, command: list[str]
) -> None:
    folder = write_run(tmp_path / "old")
    (folder / "facts.json").write_text("{}")
    code = str(alphazoo(*command).code)
    assert "old was written by an earlier version of alphazoo: it has facts.json" in code
    assert "\n" not in code


def test_the_folder_of_a_run_may_have_moved(tmp_path: Path) -> None:
    write_run(tmp_path / "a").rename(tmp_path / "b")
    assert Run.open(tmp_path / "b").config.folder == str(tmp_path / "b")
    with pytest.raises(InputError, match=r"is not the folder of a run: it has no config\.yaml"):
        Run.open(tmp_path / "a")


@pytest.mark.parametrize("model", ["gru", "gats"])
def test_an_earlier_run_gets_the_settings_that_it_did_not_have(tmp_path: Path, model: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    now = small_config(f"model={model}", f"folder={folder}")
    before = now.copy()
    OmegaConf.set_struct(before, False)
    for key in ("horizons", "half_life", "weight"):
        del before.label[key]
    del before["loss"]
    if model == "gru":
        del before.model["blend"]
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(before))
    assert flatten(Run.open(folder).config) == flatten(now)
    changed = OmegaConf.merge(now, {"label": {"half_life": 20}})
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(changed))
    assert Run.open(folder).config.label.half_life == 20
