"""The benchmark of a GPU runs, at toy size and on a CPU."""

import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import gpu

TOY = ["--days", "1", "2", "--stocks", "12", "--steps", "1", "--epoch", "10"]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> pd.DataFrame:
    monkeypatch.setattr("sys.argv", ["gpu.py", *arguments, *TOY, "--out", "gpu.csv"])
    gpu.main()
    return pd.read_csv("gpu.csv")


def test_it_goes_on_where_it_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    first = run(monkeypatch, "gru", "gats", "--precision", "float32", "bf16")
    assert len(first) == 8
    assert first.groupby("model")["joined"].all().to_dict() == {"gats": False, "gru": True}
    assert (first["epoch s"] - first["train ms/day"] / 100).abs().max() < 1e-9  # 10 days
    both = run(monkeypatch, "gru", "linear", "--precision", "float32")
    pd.testing.assert_frame_equal(both.iloc[:8], first)
    assert both.iloc[8:]["model"].tolist() == ["linear", "linear"]
    stopped = run(monkeypatch, "mlp", "--seconds", "0")
    pd.testing.assert_frame_equal(stopped, both)


@pytest.mark.slow
@pytest.mark.parametrize("name", gpu.networks())
def test_every_network_is_measured(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    table = run(monkeypatch, name, "--precision", "bf16")
    assert len(table) == 2
    assert (table[["train ms/day", "score ms/day"]] > 0).all(axis=None)


def test_joined_days_have_the_scores_of_single_ones() -> None:
    torch.manual_seed(0)
    days = gpu.make_days(3, 12, 0, torch.device("cpu"))
    model = gpu.instantiate(gpu.compose("model=lstm").model).eval()
    with torch.no_grad():
        together = model(gpu.join(days))
        alone = torch.cat([model(day) for day in days])
    torch.testing.assert_close(together, alone)
