"""The section of the report that shows what a model looks at."""

from pathlib import Path

import pytest
from conftest import MODELS, model_overrides, small_config

from alphazoo.commands.job import train

SILENT = ("gru", "igmtf", "lstm", "mlp")  # no probes, or only dear ones


def report_of(folder: Path, name: str, *overrides: str) -> str:
    sizes = model_overrides(name, hidden_size=8, feedforward_size=16, lambda_l1=0, dropout=0)
    few = ["trainer.max_epochs=1", "++trainer.limit_train_batches=2", "report=true"]
    train(small_config(*sizes, *few, *overrides, f"folder={folder}"))
    return (folder / "report.html").read_text(encoding="utf-8")


def check_section(page: str, folder: Path) -> None:
    section = page[page.index("What the model looks at") :]
    section = section[: section.index("Run and data")]
    assert f"alphazoo explain run={folder} shows more" in section
    assert section.count("<figcaption>") == 1
    (figure,) = (
        file.stem for file in (folder / "figures").glob("*.png") if f'id="{file.stem}"' in section
    )
    assert (folder / "figures" / f"{figure}.png").stat().st_size > 1000


def test_the_report_has_one_figure_of_what_the_model_looks_at(tmp_path: Path) -> None:
    page = report_of(tmp_path / "run", "gats")
    check_section(page, tmp_path / "run")
    assert "Which stocks the others attend to on 2015-" in page


def test_the_report_of_a_model_that_shows_nothing_has_no_section(tmp_path: Path) -> None:
    assert "What the model looks at" not in report_of(tmp_path / "run", "gru")


@pytest.mark.thorough
@pytest.mark.parametrize("name", MODELS)
def test_the_report_of_every_model(name: str, tmp_path: Path) -> None:
    page = report_of(tmp_path / "run", name)
    if name in SILENT:
        assert "What the model looks at" not in page
    else:
        check_section(page, tmp_path / "run")
