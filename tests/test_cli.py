"""The command line: what a run leaves behind, and one clear error for bad input."""

import json
import resource
import shlex
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pyarrow as pa
import pytest
import torch
from conftest import EXPERIMENTS, MODELS, SEGMENTS, SMALL, Alphazoo, small_config, small_frame
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from alphazoo.commands.catalog import COMMANDS
from alphazoo.config import compose, config_dir, instantiate
from alphazoo.errors import InputError
from alphazoo.metrics import summary
from alphazoo.models.gru import GRU

TRAIN = [*SMALL, "model.hidden_size=4"]


def test_models_lists_the_zoo(alphazoo: Alphazoo) -> None:
    _, *lines = alphazoo("models").out.splitlines()
    assert [line.split()[0] for line in lines] == MODELS
    assert all("http" in line for line in lines)
    assert lines[MODELS.index("gru")].split()[1] == "38,849"
    assert lines[MODELS.index("lstm")].split()[1] == "51,777"


@pytest.mark.parametrize("model", MODELS)
def test_a_model_has_a_card(model: str, alphazoo: Alphazoo) -> None:
    card = alphazoo("models", model).out
    assert "http" in card
    assert "Args:" in card
    assert "_target_: alphazoo.models." in card


def test_an_unknown_model_is_named(alphazoo: Alphazoo) -> None:
    assert "unknown model 'gatz'; did you mean 'gats'" in str(alphazoo("models", "gatz").code)


def test_weights_of_qlib_become_a_checkpoint(alphazoo: Alphazoo, tmp_path: Path) -> None:
    gru = torch.nn.GRU(6, 4, 2)
    state = {f"rnn.{name}": tensor for name, tensor in gru.state_dict().items()}
    state |= {f"fc_out.{n}": t for n, t in torch.nn.Linear(4, 1).state_dict().items()}
    torch.save(state, tmp_path / "gru.pkl")
    arguments = ["import-qlib", "gru.pkl", "model=gru", "out=gru.ckpt"]
    assert "is [12, 6], expected [192, 6]" in str(alphazoo(*arguments).code)
    assert not (tmp_path / "gru.ckpt").exists()
    assert alphazoo(*arguments, "model.hidden_size=4").code == 0
    model = GRU.load_from_checkpoint(tmp_path / "gru.ckpt", weights_only=True)
    assert torch.equal(model.encoder.rnn.weight_hh_l1, gru.weight_hh_l1)
    assert "expected: alphazoo import-qlib FILE" in str(alphazoo("import-qlib", "gru.pkl").code)
    torch.save([gru], tmp_path / "unsafe.pkl")
    arguments[1] = "unsafe.pkl"
    assert "could execute code" in str(alphazoo(*arguments).code)


def test_scores_of_qlib_become_a_table(alphazoo: Alphazoo, tmp_path: Path) -> None:
    index = pd.MultiIndex.from_product(
        [pd.to_datetime(["2020-01-02", "2020-01-03"]), ["SH1", "SZ2"]],
        names=["datetime", "instrument"],
    )
    pd.DataFrame({"score": [0.1, 0.2, 0.3, 0.4]}, index).to_pickle(tmp_path / "pred.pkl")
    assert alphazoo("import-qlib", "pred.pkl", "out=scores.parquet").code == 0
    table = pd.read_parquet(tmp_path / "scores.parquet")
    assert list(table.columns) == ["date", "symbol", "score"]
    assert table["score"].tolist() == [0.1, 0.2, 0.3, 0.4]


def test_a_run_leaves_its_results(alphazoo: Alphazoo, tmp_path: Path) -> None:
    result = alphazoo("train", *TRAIN, f"hydra.run.dir={tmp_path / 'out'}")
    folder = tmp_path / "out"
    assert result.code == 0
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert files >= {
        "config.yaml",
        "metrics.json",
        "scores.parquet",
        "train.log",
        "logs/metrics.csv",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
    }
    assert not [file for file in files if Path(file).name.startswith(".")]

    metrics = json.loads((folder / "metrics.json").read_text())
    scores = pd.read_parquet(folder / "scores.parquet")
    assert list(scores.columns) == ["date", "symbol", "split", "score", "return"]
    assert scores["split"].unique().tolist() == ["valid", "test"]
    for split, name in (("valid", "val"), ("test", "test")):
        figures = summary(scores[scores["split"] == split])
        assert metrics[f"{name}/ic"] == pytest.approx(figures["ic"], abs=1e-12)
    assert f"{metrics['test/ic']:.4f}" in result.out

    logged = pd.read_csv(folder / "logs" / "metrics.csv")
    assert logged["val/ic"].max() == pytest.approx(metrics["val/ic"], abs=1e-6)
    config = OmegaConf.load(folder / "config.yaml")
    assert config.datamodule.market.n_stocks == 12
    assert "train: 5" in (folder / "train.log").read_text()


def test_the_best_epoch_is_scored_not_the_last(alphazoo: Alphazoo, tmp_path: Path) -> None:
    """The learning rate is so large that later epochs are worse; patience stops them."""
    rate = ["model.lr=0.1", "monitor=val/loss", "trainer.max_epochs=30", "patience=2"]
    alphazoo("train", *TRAIN, *rate, "hydra.run.dir=out")
    logged = pd.read_csv(tmp_path / "out" / "logs" / "metrics.csv")
    n_epochs = int(logged["train/loss"].notna().sum())
    losses = logged["val/loss"].dropna().iloc[:n_epochs]  # then that of the best, again
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert n_epochs == losses.argmin() + 3 < 30
    assert metrics["val/loss"] == pytest.approx(losses.min(), abs=1e-6)
    assert metrics["val/loss"] < losses.iloc[-1]


def test_the_same_seed_gives_the_same_run(alphazoo: Alphazoo, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        alphazoo("train", *TRAIN, f"seed={seed}", f"hydra.run.dir={tmp_path / name}")
    a, b, c = (pd.read_parquet(tmp_path / name / "scores.parquet")["score"] for name in "abc")
    assert a.equals(b)
    assert not a.equals(c)


def test_figures_can_go_to_tensorboard(alphazoo: Alphazoo, tmp_path: Path) -> None:
    alphazoo("train", *TRAIN, "logger=tensorboard", "trainer=debug", "hydra.run.dir=out")
    assert [*(tmp_path / "out" / "logs").glob("events.out.tfevents*")]


@pytest.mark.thorough
def test_a_failed_run_keeps_no_results_of_an_earlier_one(
    alphazoo: Alphazoo, tmp_path: Path
) -> None:
    alphazoo("train", *TRAIN, "report=true", "hydra.run.dir=out")
    made = {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*")}
    alphazoo("train", *TRAIN, "optimizer=sgd", "model.lr=1e30", "hydra.run.dir=out")
    left = {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*")}
    told = {
        "config.yaml",
        "provenance.json",
        "train.log",
        "run.lock",
        "checkpoints",
        "logs",
        ".hydra",
    }
    assert {path.name for path in made} > {"metrics.json", "figures", "analysis", "report.html"}
    assert {path.parts[0] for path in left} <= told
    assert not {path.name for path in left} & {"best.ckpt", "last.ckpt"}


def test_multirun_runs_every_combination(alphazoo: Alphazoo, tmp_path: Path) -> None:
    overrides = ["model=gru,lstm", "trainer=debug", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    result = alphazoo("train", "-m", *TRAIN, *overrides)
    assert result.code == 0
    names = [
        OmegaConf.load(file).model._target_
        for file in sorted((tmp_path / "sweep").glob("*/config.yaml"))
    ]
    assert names == ["alphazoo.models.gru.GRU", "alphazoo.models.lstm.LSTM"]


def test_a_model_of_the_user_trains(alphazoo: Alphazoo, tmp_path: Path) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "last_open.py").write_text(
        "from torch import nn\n"
        "from alphazoo import StockModel\n\n\n"
        "class LastOpen(StockModel):\n"
        "    def __init__(self, *, lr, weight_decay):\n"
        "        super().__init__(lr=lr, weight_decay=weight_decay)\n"
        "        self.head = nn.Linear(1, 1)\n\n"
        "    def forward(self, day):\n"
        "        return self.head(day.features[:, -1, 1:2]).squeeze(-1)\n"
    )
    (tmp_path / "mine" / "model" / "last_open.yaml").write_text(
        "_target_: last_open.LastOpen\nlr: 1e-2\nweight_decay: 0.0\n"
    )
    mine = ["train", "--config-dir=mine", "model=last_open", *SMALL]
    assert alphazoo(*mine, "hydra.run.dir=out").code == 0
    typo = alphazoo(*mine, "model.lrr=1")
    assert "unknown config key 'model.lrr'" in str(typo.code)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["test/days"] > 0


MOMENTUM = """
def momentum(market, days):
    close = market.field("close")
    return {"momentum": close / close.roll(days, dims=0) - 1}
"""
OWN = """
defaults: [alpha158_seq, _self_]
columns: [KMID, momentum]
functions:
  - {_target_: momentum.momentum, _partial_: true, days: 5}
"""


def test_the_audit_finds_own_features_in_a_folder(alphazoo: Alphazoo, tmp_path: Path) -> None:
    """The first days of the momentum see the last ones."""
    (tmp_path / "mine" / "features").mkdir(parents=True)
    (tmp_path / "mine" / "momentum.py").write_text(MOMENTUM)
    (tmp_path / "mine" / "features" / "mine.yaml").write_text(OWN)
    result = alphazoo("data", "audit", "--config-dir", "mine", "features=mine", *TRAIN)
    assert str(result.code).startswith("error: 1 of 2 features look ahead: momentum (on 2015-")


def test_data_audit_and_export(alphazoo: Alphazoo, tmp_path: Path) -> None:
    result = alphazoo("data", "audit", *TRAIN)
    assert "none of 6 features looks ahead" in result.out
    result = alphazoo("data", "audit", *TRAIN, "data.indices=[MARKET]")
    assert "none of 6 features and 21 columns of the market state looks" in result.out
    result = alphazoo("data", "export", *TRAIN, "from=2015-05-01", "out=features.parquet")
    assert result.out.startswith("features.parquet: ")
    table = pd.read_parquet(tmp_path / "features.parquet")
    assert f"{len(table):,} rows" in result.out
    assert table["date"].min() == pd.Timestamp("2015-05-01")


def test_data_check_reports_on_a_table(alphazoo: Alphazoo, tmp_path: Path) -> None:
    small_frame().to_parquet(tmp_path / "prices.parquet")
    result = alphazoo("data", "check", "data=table", "data.path=prices.parquet")
    assert "130 from 2015-01-01" in result.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prices.parquet"]


# bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "unknown command 'trian'; did you mean 'train'?"),
        (["train", "model=lstmm"], "unknown model 'lstmm'; did you mean 'lstm'?"),
        (["train", "data=qlibb"], "unknown data 'qlibb'; did you mean 'qlib'?"),
        (["train", "modell=lstm"], "unknown config key 'modell'; did you mean 'model'?"),
        (
            ["train", "data=qlib", "data.universee=all"],
            "unknown config key 'data.universee'; did you mean 'data.universe'?",
        ),
        (
            ["train", "trainer.max_epoch=1"],
            "unknown config key 'trainer.max_epoch'; did you mean 'trainer.max_epochs'?",
        ),
        (["train", "seed=["], "cannot read 'seed=['"),
        (["train", "data=qlib"], "no value for data.path: give it as data.path=VALUE"),
        (["data", "check", "data=table"], "no value for data.path"),
        (
            ["train", "data=qlib", "data.path=nowhere"],
            "the calendar nowhere/calendars/day.txt does not",
        ),
        (["train", "data=table", "data.path=nowhere.csv"], "no file nowhere.csv"),
        (["data", "check", "data=table", "data.path=x.csv"], "no file x.csv"),
        (["train", *TRAIN, "label.buy=0"], "need 1 <= label.buy < label.sell, got 0 and 2"),
        (["train", *TRAIN, "features.window=500"], "features.window is 500 days, but market"),
        (["train", *TRAIN, "data.test=[2019,2020]"], "data.test=[2019, 2020] has no trading day"),
        (["train", *TRAIN, "monitor=val/icc"], "unknown monitor 'val/icc'; did you mean 'val/ic"),
        (["train", *TRAIN, "data.indices=[SPX]"], "unknown index 'SPX'; available: MARKET"),
        (["train", *TRAIN, "data.embargo=-9"], "data.embargo must be at least 0 days, got -9"),
        (["train", *TRAIN, "data.min_stocks=0"], "data.min_stocks must be at least 1, got 0"),
        (["train", *TRAIN, "data.train=2014"], "data.train=2014: expected [from, to]"),
        (["train", *TRAIN, "data.n_days=abc"], "data.n_days=abc: expected a whole number"),
        (["train", *TRAIN, "model.lr=-1"], "model.lr=-1: expected a number (at least 0)"),
        (["train", *TRAIN, "label.sell=200"], "label.sell must be less than the"),
        (["train", *TRAIN, "scaler.max_rows=0"], "scaler.max_rows must be at least 1, got 0"),
        (["train", "-m", "model=gru,lstm", "trainer.max_epoch=1"], "did you mean 'trainer.max_ep"),
        (["data", "export", *TRAIN], "expected: alphazoo data export data=... [from=DAY]"),
        (["data", "export", *TRAIN, "out=f.csv"], "out must be a file that ends in .parquet"),
        (["data", "adit"], "unknown command 'data adit'; did you mean 'data audit'?"),
        (["models", "all"], "unknown model 'all'; available: add, alstm, dtml"),
        (["train", *TRAIN, "trainer.accelerator=abacus"], "abacus"),
        (["train", *TRAIN, "data.n_sectors=9"], "5 stocks per sector"),
        (["train", *TRAIN, "data.min_stocks=50"], "has 50 members of market 'synthetic (seed 0)'"),
    ],
)
def test_bad_input_is_one_error(
    alphazoo: Alphazoo, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = alphazoo(*arguments)
    assert isinstance(result.code, str)  # sys.exit(text): printed, status 1
    assert result.code.startswith("error: ")
    assert message in result.code
    assert "\n" not in result.code
    assert "Traceback" not in result.err
    assert not [*tmp_path.rglob("*.json"), *tmp_path.rglob("*.parquet"), *tmp_path.rglob("*.ckpt")]


def test_a_loss_that_is_not_finite_stops_with_the_day(alphazoo: Alphazoo) -> None:
    result = alphazoo("train", *TRAIN, "optimizer=sgd", "model.lr=1e30", "hydra.run.dir=out")
    assert isinstance(result.code, str)
    assert "error: 2015-0" in result.code
    assert "the loss is inf" in result.code or "the loss is nan" in result.code
    assert "stocks" in result.code
    assert "try a smaller model.lr (now 1e+30)" in result.code


@pytest.mark.parametrize("folder", ["/dev/null/run", "/proc/alphazoo"])
def test_a_folder_that_cannot_be_written_is_named(alphazoo: Alphazoo, folder: str) -> None:
    result = alphazoo("train", *TRAIN, f"hydra.run.dir={folder}")
    assert isinstance(result.code, str)
    assert folder in result.code


@pytest.mark.thorough
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    """Files may not grow beyond 20 kB: the checkpoint does not fit."""
    command = [sys.executable, "-m", "alphazoo", "train", *TRAIN, "model.hidden_size=64"]
    result = subprocess.run(
        [*command, f"hydra.run.dir={tmp_path / 'out'}"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert result.returncode == 1
    assert "error: " in result.stderr
    assert "File too large" in result.stderr
    assert "Traceback" not in result.stderr
    assert not [*tmp_path.rglob("*.ckpt"), *tmp_path.rglob("metrics.json")]


# from Python


def test_instantiate_takes_objects_as_they_are(tmp_path: Path) -> None:
    market = instantiate(small_config().data.market)()
    data = instantiate(compose("data=table", *SEGMENTS).datamodule, market=market)
    data.setup()
    assert data.market is market


def test_configs_reach_objects_as_plain_values() -> None:
    features = instantiate(small_config().features)
    assert type(features.columns) is list


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments_hold_the_settings_of_their_names(experiment: str) -> None:
    kind, model = experiment.split("_", 1)
    config = compose(f"experiment={experiment}")
    OmegaConf.resolve(config)
    known = {*compose("features=alpha158").features.columns}
    assert ({*config.features.columns} <= known) == (kind in ("alpha158", "tuned"))
    assert config.model._target_.split(".")[2] == model
    if kind == "tuned":
        assert config.monitor == "val/rank_ic"
    else:  # as published
        assert config.trainer.max_epochs in (20, 40, 50, 100, 200)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_run_gets_what_its_experiment_says(experiment: str) -> None:
    said = OmegaConf.load(config_dir() / "experiment" / f"{experiment}.yaml")
    del said["defaults"]
    config = compose(f"experiment={experiment}")
    assert OmegaConf.merge(config, said) == config


def test_the_better_loss_is_the_smaller() -> None:
    assert compose("monitor=val/loss").mode == "min"
    assert compose("monitor=val/rank_icir").trainer.callbacks[1].mode == "max"


@pytest.mark.parametrize("trainer", ["auto", "cpu", "gpu", "ddp", "debug"])
def test_every_trainer_composes(trainer: str) -> None:
    node = OmegaConf.to_container(compose(f"trainer={trainer}").trainer, resolve=True)
    assert node["_target_"] == "lightning.pytorch.Trainer"
    assert node["gradient_clip_val"] == 3.0
    assert node["gradient_clip_algorithm"] == "value"


@pytest.mark.parametrize("folder", ["my 数据, (1) = new", 'a"b\\c'])
@pytest.mark.thorough
def test_a_folder_may_have_any_name(folder: str, alphazoo: Alphazoo, tmp_path: Path) -> None:
    group = tmp_path / folder / "model"
    group.mkdir(parents=True)
    (group / "tiny.yaml").write_text("defaults: [linear]\nlr: 0.5\n", encoding="utf-8")
    told = [*SMALL, "model=tiny", "--config-dir", folder, "trainer.max_epochs=1"]
    assert alphazoo("train", *told, "hydra.run.dir=run").code == 0  # between overrides, too
    assert alphazoo("data", "check", f"--config-dir={folder}", *SMALL).code == 0
    out = f"out={folder}/out"
    assert alphazoo("predict", "run=run", "date=2015-06-01", f"--config-dir={folder}").code == 0
    scored = ["evaluate", "scores=run/scores.parquet", *SMALL[:-5], out]
    assert alphazoo(*scored).code == 0
    assert (tmp_path / folder / "out" / "report.html").is_file()


def test_a_config_dir_that_is_not_there_is_named(alphazoo: Alphazoo) -> None:
    for command in (["train"], ["data", "check"], ["predict", "run=none"]):
        result = alphazoo(*command, "--config-dir", "nowhere")
        assert (
            result.code == "error: --config-dir: expected a folder with yaml files, got 'nowhere'"
        )


# faults


class FaultyError(Exception):
    pass


def replace_command(patch: pytest.MonkeyPatch, name: str, error: BaseException) -> None:
    """Let a command raise an error."""
    place = COMMANDS[name].function.replace(":", ".")
    patch.setattr(f"alphazoo.commands.{place}", Mock(side_effect=error))


FAULTS = [
    (OSError(28, "No space left on device", "out"), "No space left on device: 'out'"),
    (PermissionError(13, "Permission denied", "out"), "Permission denied: 'out'"),
    (MemoryError(), "out of memory"),
    (pa.ArrowInvalid("not a\nParquet file"), "not a Parquet file"),
    (pd.errors.ParserError("7 fields"), "7 fields"),
    (MisconfigurationException("no such\ndevice"), "no such device"),
    (OmegaConfBaseException("no such key"), "no such key"),
]


@pytest.mark.parametrize(("error", "message"), FAULTS, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("command", ["train", "compare", "data check"])
def test_a_fault_is_one_line(
    command: str,
    error: BaseException,
    message: str,
    alphazoo: Alphazoo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replace_command(monkeypatch, command, error)
    result = alphazoo(*command.split())
    assert isinstance(result.code, str)
    assert result.code.startswith("error: ")
    assert message in result.code
    assert "\n" not in result.code
    assert "Traceback" not in result.err


def test_a_bug_gives_a_traceback_and_says_what_it_is(
    alphazoo: Alphazoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_command(monkeypatch, "models", FaultyError("x"))
    result = alphazoo("models")
    assert "Traceback" in result.err
    assert isinstance(result.code, str)
    assert "bug" in result.code


@pytest.mark.thorough
def test_a_closed_pipe_ends_the_command_quietly() -> None:
    found = subprocess.run(
        [*["bash", "-o", "pipefail", "-c"], f"{sys.executable} -m alphazoo models | true"],
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stderr) == (141, "")


def test_notebooks_get_an_input_error_with_its_cause() -> None:
    with pytest.raises(InputError, match="unknown config key 'modl'") as found:
        compose("modl=3")
    assert found.value.__cause__ is not None
    with pytest.raises(InputError, match="quote the text") as found:
        compose("data.path=a=b")
    with pytest.raises(InputError, match="no_such") as found:
        instantiate(OmegaConf.create({"_target_": "alphazoo.no_such"}))
    assert found.value.__cause__ is not None


GRAMMAR = ["行情.csv", "epoch=3.csv", "a#b.csv", "<DATE>", "a'b\"c=d", "a\\b=c"]


@pytest.mark.parametrize("value", GRAMMAR)
def test_the_quotes_that_an_error_proposes_work(value: str, alphazoo: Alphazoo) -> None:
    result = alphazoo("data", "check", "data=table", f"data.path={value}")
    assert isinstance(result.code, str)
    (quoted,) = shlex.split(result.code.partition("shell: ")[2])
    assert compose("data=table", quoted).data.path == value
