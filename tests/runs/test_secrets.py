"""A password or key that is typed in is refused before anything is written."""

from pathlib import Path

import pytest
from conftest import SMALL, Alphazoo

WORD = "pass123word"
ADDRESS = f"http://me:{WORD}@127.0.0.1:9/x"


def check_refusal(alphazoo: Alphazoo, folder: Path, key: str, *arguments: str) -> None:
    result = alphazoo(
        *arguments, *SMALL, f"hydra.run.dir={folder}/out", f"hydra.sweep.dir={folder}/out"
    )
    assert isinstance(result.code, str)
    assert f"{key} holds a password or key" in result.code
    assert WORD not in result.code + result.out + result.err
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        (f"logger=mlflow logger.mlflow.tracking_uri={ADDRESS}", "logger.mlflow.tracking_uri"),
        (f"logger=mlflow logger.mlflow.run_name={ADDRESS}", "logger.mlflow.run_name"),
        (f"+data.path={ADDRESS}", "data.path"),
        (f"+data.market.names=[a,'{ADDRESS}']", "data.market.names"),
        (f"+model.password={WORD}", "model.password"),
        (f"+model.my_api_key={WORD}", "model.my_api_key"),
    ],
)
def test_a_secret_is_in_no_file(setting: str, key: str, alphazoo: Alphazoo, tmp_path: Path) -> None:
    check_refusal(alphazoo, tmp_path, key, "train", *setting.split())


@pytest.mark.parametrize("command", ["train -m seed=1,2", "benchmark model=gru"])
def test_a_secret_of_many_runs_is_in_no_file(
    command: str, alphazoo: Alphazoo, tmp_path: Path
) -> None:
    password = f"+model.password={WORD}"
    check_refusal(alphazoo, tmp_path, "model.password", *command.split(), password)


def test_variables_and_other_words_are_no_secrets(alphazoo: Alphazoo, tmp_path: Path) -> None:
    fine = ["+note='https://host/a:b@c'", "+tokens=${seed}"]
    refused = alphazoo("train", *SMALL, *fine, f"hydra.run.dir={tmp_path}/out").code
    assert "password" not in str(refused)
