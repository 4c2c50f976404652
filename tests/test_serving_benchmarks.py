"""The benchmarks of serving run, at toy size."""

import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import small_frame, write_qlib

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import serving
import updates

SMALL = ["data.universe=all", "data.benchmark=null", "data.min_stocks=2", "data/concepts=none"]


def run(monkeypatch: pytest.MonkeyPatch, program: object, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["serving.py", *arguments])
    program.main()  # type: ignore[attr-defined]


@pytest.fixture
def prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    days = [f"data.{name}={dates}" for name, dates in TOY.items()]
    monkeypatch.setattr(serving, "DAYS", [*days, "features=alpha360", "features.window=5"])
    monkeypatch.setattr(serving, "CSI300", ["data=qlib", *SMALL])
    return write_qlib(tmp_path / "qlib", small_frame(130, 12))


TOY = {
    "train": "['2015-01-15','2015-04-15']",
    "valid": "['2015-04-16','2015-05-15']",
    "test": "['2015-05-18','2015-06-30']",
}


@pytest.mark.thorough
def test_exports_and_precisions_are_compared(
    prices: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = ("gru", "stockmixer")
    run(monkeypatch, serving, "export", str(prices), *models, "--int8", "gru", "--out", "out")
    table = pd.read_csv("out/export.csv").set_index(["model", "precision"])
    assert table.index.tolist() == [("gru", "float32"), ("stockmixer", "float32"), ("gru", "int8")]
    assert table.loc[("gru", "float32"), "difference"] < 1e-5
    assert table.loc[("gru", "int8"), "of float32"] < 1
    assert "universe only" in table.loc[("stockmixer", "float32"), "refused"]
    run(monkeypatch, serving, "precision", str(prices), "gru", "--out", "out")
    assert "bfloat16 ms" in capsys.readouterr().out


@pytest.mark.slow
def test_the_daily_commands_are_measured(
    prices: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    sizes = ("--stocks", "40", "--days", "320", "--live", "40", "--out", "out")
    run(monkeypatch, serving, "daily", *sizes)
    out = capfd.readouterr().out
    assert "40 days of scores" in out
    assert [line.split()[0] for line in out.splitlines()[-2:]] == ["predict", "monitor"]


@pytest.mark.slow
def test_updates_are_compared_by_quarters(
    prices: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_qlib(Path("years"), small_frame(1600, 6))
    monkeypatch.setattr(updates, "MODEL", ["model=linear", "features=alpha360", *SMALL])
    monkeypatch.setattr(updates, "DAYS", LATE)
    monkeypatch.setattr(updates, "QUARTERS", pd.period_range("2019Q1", "2019Q2", freq="Q"))
    quick = ("trainer.max_epochs=1", "features.window=5")
    run(monkeypatch, updates, str(data), *quick, "--seeds", "0", "--out", "out")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-3:]] == ["none", "update", "walk"]


LATE = [
    "data.train=['2018-01-01','2018-09-30']",
    "data.valid=['2018-10-01','2018-12-31']",
    "data.test=['2019-01-01','2019-06-30']",
]
