"""The wheel by itself: configs inside, works outside the checkout, with nothing else installed."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from conftest import SMALL

ROOT = Path(__file__).parents[1]


def call(*command: object, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(part) for part in command]
    result = subprocess.run(words, cwd=cwd, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_the_wheel_trains_in_a_clean_environment(tmp_path: Path) -> None:
    call(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path, ROOT, cwd=tmp_path)
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / "bin"
    call(programs / "pip", "install", *tmp_path.glob("*.whl"), cwd=tmp_path)
    assert "38,849" in call(programs / "alphazoo", "models", cwd=tmp_path)
    call(programs / "alphazoo", "train", *SMALL, "hydra.run.dir=out", cwd=tmp_path)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["test/days"] > 0
    many = ["-m", *SMALL, "trainer=debug", "seed=1,2", "hydra.sweep.dir=many"]
    call(programs / "alphazoo", "train", *many, cwd=tmp_path)
    assert (tmp_path / "many" / "sweep.parquet").is_file()
    where = call(
        programs / "python", "-c", "import alphazoo; print(alphazoo.__file__)", cwd=tmp_path
    )
    assert where.startswith(str(tmp_path))
