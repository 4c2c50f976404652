"""The folder of a run that a stranger sent: its config runs no code and reads no variable."""

import pickle
from pathlib import Path

import pytest
from conftest import SMALL, Alphazoo, small_config
from omegaconf import DictConfig, OmegaConf

from alphazoo.config import compose, config_dir
from alphazoo.data.labels import Label
from alphazoo.errors import InputError
from alphazoo.runs import trust
from alphazoo.runs.run import Run
from alphazoo.runs.trust import trust_config

# each way to run code or to reveal a variable, and what the message says of it
HOSTILE = {
    "datamodule: {_target_: joblib.load, filename: evil.pkl}": "joblib.load",
    "scaler: {_target_: pandas.read_pickle, filepath_or_buffer: evil.pkl}": "pandas.read_pickle",
    "model: {_target_: torch.load, f: evil.pkl, weights_only: false}": "torch.load",
    "label: {_target_: os.system, command: touch marker}": "os.system",
    "features: {_target_: alphazoo.qlib.import_weights, path: evil.pkl}": "alphazoo.qlib.import",
    "trainer: {callbacks: [{_target_: pathlib.Path.touch, _args_: [marker]}]}": "pathlib.Path",
    "optimizer: {_target_: pathlib.Path.touch, _partial_: true, self: marker}": "pathlib.Path",
    "model: {_args_: [{deep: {_target_: joblib.load, filename: evil.pkl}}]}": "joblib.load",
    "names: {a: joblib.load}\nmodel: {_target_: '${names.a}'}": "${names.a}",
    "data: {path: '${oc.env:HOME}'}": "${oc.env:HOME}",
    "extra: '${oc.create:\"{_target_: joblib.load, filename: evil.pkl}\"}'": "${oc.create:",
    "d: decode\nextra: '${oc.${d}:\"[1]\"}'": "${oc.${d}:",
    "model: {n_features: '${new_folder:marker}'}": "${new_folder:marker}",
    "data: {path: '${oc.env:MLFLOW_TRACKING_URI,\"sqlite:///runs/mlflow.db\"}'}": "${oc.env:MLFLOW",
}
COMMANDS = (
    ["predict", "run=evil"],
    ["train", "run=evil"],
    ["ensemble", "good", "evil", "out=out"],
    ["compare", "good", "evil", "out=out"],
    ["compare", "evil", "out=out"],
)


@pytest.fixture(autouse=True)
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tests of this process have trained is not trusted."""
    monkeypatch.setattr(trust, "_trained", set())


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("marker"),)


def write_config(folder: Path, config: DictConfig) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(config))
    return folder


def evil_config(evil: str) -> DictConfig:
    config = small_config()
    OmegaConf.set_struct(config, False)
    return OmegaConf.merge(config, OmegaConf.create(evil))  # type: ignore[return-value]


@pytest.mark.parametrize("evil", HOSTILE)
def test_the_folder_of_a_stranger_runs_nothing(
    alphazoo: Alphazoo, tmp_path: Path, evil: str
) -> None:
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Evil()))
    write_config(tmp_path / "good", small_config())
    write_config(tmp_path / "evil", evil_config(evil))
    for command in COMMANDS:
        code = str(alphazoo(*command).code)
        assert code.startswith("error: the config of evil uses "), code
        assert HOSTILE[evil] in code
        assert "with trust=true, the command opens it anyway" in code
        assert "\n" not in code
    assert {path.name for path in tmp_path.iterdir()} == {"evil.pkl", "good", "evil"}


def test_neither_do_its_windows_nor_its_members(alphazoo: Alphazoo, tmp_path: Path) -> None:
    evil = evil_config("data: {test: ['${oc.env:HOME}', null]}")
    write_config(tmp_path / "walked", small_config("walk_forward=monthly"))
    write_config(tmp_path / "walked" / "windows" / "2015-05-16", evil)
    code = str(alphazoo("predict", "run=walked", "date=2015-06-30").code)
    assert "config of walked/windows/2015-05-16 uses ${oc.env:HOME}" in code
    both = small_config()
    members = {"by": "rank", "runs": ["evil", "evil"]}
    OmegaConf.update(both, "ensemble", members, force_add=True)
    write_config(tmp_path / "evil", evil)
    write_config(tmp_path / "both", both)
    assert "config of evil uses ${oc" in str(alphazoo("predict", "run=both").code)


def test_an_earlier_run_in_the_folder_of_a_new_one_is_not_trusted(
    alphazoo: Alphazoo, tmp_path: Path
) -> None:
    write_config(tmp_path / "evil", evil_config("model: {n_features: '${new_folder:marker}'}"))
    (tmp_path / "evil" / "checkpoints").mkdir()
    for name in ("scores.parquet", "metrics.json"):
        (tmp_path / "evil" / name).touch()
    resumed = alphazoo("train", *SMALL, "ckpt=last", "hydra.run.dir=evil")
    assert "/evil uses ${new_folder:marker}" in str(resumed.code)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_trust_opens_it_on_purpose(alphazoo: Alphazoo, tmp_path: Path, command: list[str]) -> None:
    write_config(tmp_path / "good", small_config())
    write_config(tmp_path / "evil", evil_config("extra: {_target_: os.getcwd}"))
    assert "no yaml file" in str(alphazoo(*command, "trust=false").code)
    assert "no yaml file" not in str(alphazoo(*command, "trust=true").code)
    assert "trust=yes: expected true or false" in str(alphazoo(*command, "trust=yes").code)


def test_what_the_user_says_is_trusted(tmp_path: Path) -> None:
    """Overrides, also one that repeats the config; not the rest of a node that they change."""
    own = {"_target_": "test_trust.OwnLabel", "buy": 1, "sell": 2}
    folder = write_config(tmp_path / "run", evil_config(f"label: {own}"))
    with pytest.raises(InputError, match="uses test_trust.OwnLabel, which no yaml"):
        Run.open(folder)
    for text in ("label._target_=test_trust.OwnLabel", "label._target_=alphazoo.data.labels.Label"):
        assert Run.open(folder, [text]).config.label._target_ == text.partition("=")[2]
    with pytest.raises(InputError, match="uses test_trust.OwnLabel, which no yaml"):
        Run.open(folder, ["label={buy: 1}"])
    assert Run.open(folder, trust=True).config.label.sell == 2


def test_the_yaml_files_of_the_user_are_trusted(alphazoo: Alphazoo, tmp_path: Path) -> None:
    own = tmp_path / "mine" / "model"
    own.mkdir(parents=True)
    linear = (config_dir() / "model" / "linear.yaml").read_text()
    (own / "own.yaml").write_text(linear.replace("alphazoo.models.linear.", "test_trust.Own"))
    write_config(tmp_path / "run", evil_config("model: {_target_: test_trust.OwnLinear}"))
    for command in (["predict", "run=run"], ["compare", "run"], ["train", "run=run"]):
        assert "uses test_trust.OwnLinear" in str(alphazoo(*command).code)
        assert "uses test_trust" not in str(alphazoo(*command, "--config-dir=mine").code)
    (own / "own.yaml").write_text("{")
    assert "own.yaml is not YAML" in str(alphazoo("predict", "run=run", "--config-dir=mine").code)


def test_what_this_process_trains_can_be_opened(tmp_path: Path) -> None:
    folder = write_config(tmp_path / "run", evil_config("label: {_target_: test_trust.Trained}"))
    with pytest.raises(InputError, match="uses test_trust.Trained"):
        Run.open(folder)
    trust_config(compose("label._target_=test_trust.Trained"))
    assert Run.open(folder).config.label._target_ == "test_trust.Trained"


class OwnLabel(Label):
    """One that no yaml file names."""
