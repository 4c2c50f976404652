"""Two processes train one model: every day counts once, figures are those of one process."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import SMALL

from alphazoo.metrics import summary


@pytest.mark.slow
def test_two_processes_score_every_day_once(tmp_path: Path) -> None:
    arguments = [a for a in SMALL if "accelerator" not in a] + ["model.hidden_size=4"]
    devices = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    subprocess.run(
        [sys.executable, "-m", "alphazoo", "train", *arguments, *devices, "hydra.run.dir=out"],
        cwd=tmp_path,
        check=True,
    )
    scores = pd.read_parquet(tmp_path / "out" / "scores.parquet")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert not scores.duplicated(["date", "symbol"]).any()
    test = scores[scores["split"] == "test"]
    assert test["date"].nunique() == metrics["test/days"] == 31  # an odd number over two processes
    assert summary(test)["ic"] == pytest.approx(metrics["test/ic"], abs=1e-12)
