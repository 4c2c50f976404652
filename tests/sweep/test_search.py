"""Searches by Optuna: the space, pruning, restarts, several workers on PostgreSQL, bad input."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from conftest import SMALL, Alphazoo
from hydra.core.override_parser.overrides_parser import OverridesParser

from alphazoo.errors import InputError

optuna = pytest.importorskip("optuna", minversion="4.9")

from optuna.distributions import (  # noqa: E402
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState  # noqa: E402

from alphazoo.sweep.space import Space, parse_space  # noqa: E402
from alphazoo.sweep.study import POLL  # noqa: E402

RATE = "model.lr=tag(log,interval(1e-4,1e-2))"
SEARCH = [
    *("train", "-m", *SMALL, "trainer=debug", "model.hidden_size=4", "hydra/sweeper=optuna"),
    *("hydra.sweep.dir=sweep", "hydra.sweeper.sampler.seed=0"),
]


def space(*overrides: str) -> Space:
    return parse_space(OverridesParser.create().parse_overrides([*overrides]))


def trials(storage: str, name: str = "search") -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=name, storage=storage).get_trials()


def test_the_space_is_in_the_words_of_hydra() -> None:
    ranges = ["b=range(1,8,2)", "c=range(0,0.5,0.1)", "e=range(1,4)"]
    found = space(RATE, "a=int(interval(2,5))", "d=x,2", *ranges)
    assert found["model.lr"] == FloatDistribution(1e-4, 1e-2, log=True)
    assert found["a"] == IntDistribution(2, 5)
    assert found["b"] == IntDistribution(1, 7, step=2)
    assert found["e"] == IntDistribution(1, 3)
    assert found["c"] == FloatDistribution(0.0, 0.4, step=0.1)
    assert found["d"] == CategoricalDistribution(["x", "2"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "nothing to search"),
        (["a=tag(lg,interval(1,2))"], "unknown tag 'lg'"),
        (["a=tag(log,choice(1,2))"], "log is only for intervals"),
        (["a=interval(2,1)"], "cannot search a=interval\\(2,1\\)"),
        (["a=tag(log,interval(0,1))"], "cannot search a="),
        (["a=range(3,1)"], "cannot search a="),
    ],
)
def test_a_space_that_cannot_be_drawn_from_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        space(*overrides)


@pytest.mark.thorough
def test_a_search_tries_and_goes_on_where_it_ended(alphazoo: Alphazoo, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/sweep/study.db"
    result = alphazoo(*SEARCH, RATE, "hydra.sweeper.n_trials=2")
    assert result.code == 0
    table = pd.read_parquet(tmp_path / "sweep" / "sweep.parquet")
    values = [trial.value for trial in trials(storage)]
    assert table["val/ic"].tolist() == pytest.approx(values)
    assert table["model.lr"].tolist() == pytest.approx(
        [trial.params["model.lr"] for trial in trials(storage)]
    )
    assert f"best of 2 trials: val/ic {max(values):.4f}" in result.out
    alphazoo(*SEARCH, RATE, "hydra.sweeper.n_trials=3")
    assert [trial.state for trial in trials(storage)] == [TrialState.COMPLETE] * 3
    other = str(alphazoo(*SEARCH, "model.lr=interval(1e-4,1e-1)").code)
    assert "the study 'search' belongs to another search (model.lr: " in other
    assert "hydra.sweeper.study=NAME" in other
    alphazoo(*SEARCH, "model.lr=1,2", "hydra.sweeper.study=second", "hydra.sweeper.n_trials=1")
    folders = {path.parent.name for path in (tmp_path / "sweep").glob("*/metrics.json")}
    assert folders == {"search-0", "search-1", "search-2", "second-0"}


@pytest.mark.thorough
def test_a_bad_trial_is_pruned_and_one_that_fails_is_named(
    alphazoo: Alphazoo, tmp_path: Path
) -> None:
    never = ["hydra/sweeper/pruner=threshold", "hydra.sweeper.pruner.lower=2"]
    (tmp_path / "mine" / "hydra" / "sweeper" / "pruner").mkdir(parents=True)
    (tmp_path / "mine/hydra/sweeper/pruner/threshold.yaml").write_text(
        "_target_: optuna.pruners.ThresholdPruner\nlower: 0\n"
    )
    mine = ["train", "--config-dir=mine", *SEARCH[1:], "hydra.sweeper.n_trials=1"]
    result = alphazoo(*mine, RATE, *never)
    assert result.code == 0
    assert "no trial has finished successfully" in result.out
    status = json.loads((tmp_path / "sweep" / "search-0" / "status.json").read_text())
    assert status["status"] == "pruned"
    assert "after 1 epochs" in status["error"]

    diverges = ["optimizer=sgd", "model.lr=interval(1e30,1e31)", "hydra.sweep.dir=other"]
    result = alphazoo(*SEARCH, *diverges, "hydra.sweeper.n_trials=1")
    assert "1 of 1 jobs failed: other/search-0 (" in str(result.code)
    states = [trial.state for trial in trials(f"sqlite:///{tmp_path}/other/study.db")]
    assert states == [TrialState.FAIL]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["hydra.sweeper.study=a/b"], "'_.-', got 'a/b'"),
        (["monitor=test/ic"], "got monitor=test/ic: choosing settings by test metrics"),
        (["hydra.sweeper.storage=nonsense"], "cannot use the storage hydra.sweeper.storage: "),
        (["hydra.sweeper.storage=odd://x/y"], "cannot use the storage odd://x/y: "),
        (
            ["hydra.sweeper.storage='postgresql://me:secret@localhost:1/x'"],
            "hydra.sweeper.storage holds a password or key",
        ),
        (
            ["hydra.sweeper.storage='postgresql://me:${oc.env:WORD}@localhost:1/x'"],
            "cannot use the storage postgresql://me:***@localhost:1/x: ",
        ),
        (["model.heads=1,2"], "unknown config key 'model.heads'"),
    ],
)
def test_bad_input_is_one_clear_error(
    overrides: list[str],
    message: str,
    alphazoo: Alphazoo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORD", "secret")
    told = str(alphazoo(*SEARCH, RATE, *overrides).code)
    assert message in told
    assert "\n" not in told
    assert "secret" not in told
    assert not [*(tmp_path / "sweep").glob("*/status.json")]
    assert not [file for file in tmp_path.rglob("*.*") if b"secret" in file.read_bytes()]


def test_a_file_of_the_sweep_group_may_be_a_search(alphazoo: Alphazoo) -> None:
    told = alphazoo("train", *SMALL, "sweep=encoder", "monitor=test/ic", "hydra.sweep.dir=sweep")
    assert "choosing settings by test metrics" in str(told.code)


@pytest.fixture
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of the test's own."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin"), Path(shutil.which("initdb") or "").parent]
    programs = next((path for path in found if (path / "initdb").is_file()), None)
    if programs is None:
        pytest.skip("needs PostgreSQL: no initdb")
    user: list[str] = []
    folder = tmp_path_factory.mktemp("postgresql")
    if os.getuid() == 0:  # which PostgreSQL refuses
        user = ["runuser", "-u", "nobody", "--"]
        folder = Path(subprocess.check_output([*user, "mktemp", "-d"], text=True).strip())
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    options = f"-p {port} -k {folder} -c listen_addresses=localhost -c fsync=off"
    server = [*user, programs / "pg_ctl", "-D", data, "-w"]
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": "/"}
    subprocess.run([*user, programs / "initdb", "-D", data, "-U", "me", "-A", "trust"], **quiet)
    subprocess.run([*server, "-o", options, "-l", folder / "log", "start"], **quiet)
    yield f"postgresql://me@localhost:{port}/postgres"
    subprocess.run([*server, "-m", "immediate", "stop"], **quiet)
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.thorough
def test_the_trial_of_a_killed_worker_is_tried_again_by_another(
    postgresql: str, tmp_path: Path
) -> None:
    command = [
        *(sys.executable, "-m", "alphazoo", *SEARCH, RATE, "hydra.sweeper.n_trials=4"),
        *(f"hydra.sweeper.storage={postgresql}", "hydra.sweeper.heartbeat=2"),
        "hydra.sweeper.sampler.seed=null",
    ]
    long = ["trainer.max_epochs=100000", "patience=100000", "hydra/sweeper/pruner=none"]
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    setting = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": path}, "text": True}
    killed = subprocess.Popen([*command, *long], **setting)
    while not [*(tmp_path / "sweep").glob("search-0/logs/metrics.csv")]:
        assert killed.poll() is None
        time.sleep(POLL / 4)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    workers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **setting)
        for _ in range(2)
    ]
    for worker in workers:
        _, err = worker.communicate(timeout=400)
        assert worker.returncode == 0, err
    first, *others = trials(postgresql.replace("postgresql", "postgresql+psycopg"))
    assert first.state == TrialState.FAIL
    again = [trial for trial in others if trial.params == first.params]
    assert [trial.state for trial in again] == [TrialState.COMPLETE]
    assert [trial.state for trial in others].count(TrialState.COMPLETE) in (4, 5)
