"""Every command and Python block of README and the guide pages, run in a folder of its own.

The folder holds what the pages assume: data, runs, scores, weights of Qlib, a model registry. The
market is synthetic, with the symbols that the pages name, up to today. Commands run as they are
written, with settings after them that make training short.
"""

import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import exit_code, write_qlib
from documented import (
    NAMED,
    PAGES,
    README,
    all_blocks,
    blocks,
    calls,
    inline_calls,
    is_shell,
    write_own_files,
)

from alphazoo.commands.arguments import flags_as_keys
from alphazoo.config import compose, instantiate

SHORT = [
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "++trainer.limit_train_batches=2",
    "++trainer.limit_val_batches=12",
    "++trainer.limit_test_batches=12",
    "trainer.enable_progress_bar=false",
    "report=false",
]
MORE = {  # further settings after a command with this name, or with this word
    "benchmark": ["seed=0", "model=lstm,gru", "budget=0.01"],
    "sweep=seeds": ["seed=0,1"],
    "sweep=encoder": ["hydra.sweeper.n_trials=2"],
    "data/concepts=correlation": ["data.concepts.n_groups=3"],  # the market has 60 stocks
    "experiment=alpha158_rsr": ["model.n_concepts=3"],
}
NOT_RUN = {  # word of a command -> why it is not run
    "hydra/launcher=submitit_slurm": "needs a cluster",
    "logger.mlflow.tracking_uri=http://SERVER": "needs a server",
    "features=<name>": "stands for any name",
    "experiment=EXPERIMENT": "stands for any of a table",
    "loss=...": "stands for any of a table",
    "seed=...": "stands for any",
    "data.path=...": "stands for any",
    "data=...": "stands for any",
    "[until=DATE]": "is a synopsis",
    "run=FOLDER": "stands for any",
    "csi300_opensource_0.pkl": "needs the weights that the authors of MASTER published",
}
STATUS = {"monitor": (0, 2)}  # exit statuses other than 0 that are no error
FAILS = {  # commands that a page shows because they fail, and a part of their message
    ("data", "audit", "features=mine"): "look ahead: momentum",
    ("train", "seed=abc"): "seed=abc: expected a whole number",
}
FRAGMENTS = {  # first lines of Python that is a part of something larger
    "from alphazoo.models.probe import Probe",
    "import yfinance as yf",
}
SYMBOLS = ("SH600519", "SZ000858", *(f"SH60{i:04}" for i in range(58)))  # a backtest holds 50
INDICES = ("SH000300", "SH000905", "SH000906")


def make_prices() -> pd.DataFrame:
    """Prices of a market from 2008 to today that trades weekly, and on the days of the pages."""
    random = np.random.default_rng(0)
    weekly = pd.bdate_range(end=pd.Timestamp(date.today()), periods=987 * 5)[4::5]
    days = weekly.union(pd.DatetimeIndex(["2020-07-01", "2020-12-31"]))
    names = [*SYMBOLS, *INDICES]
    shape = (len(days), len(names))
    close = 50 * np.exp(np.cumsum(0.02 * random.standard_normal(shape), axis=0))
    return pd.DataFrame(
        {
            "date": np.repeat(days, len(names)),
            "symbol": np.tile(names, len(days)),
            "open": (close * 1.01).ravel(),
            "high": (close * 1.02).ravel(),
            "low": (close * 0.98).ravel(),
            "close": close.ravel(),
            "vwap": close.ravel(),
            "volume": random.integers(1000, 9000, close.size).astype(float),
            "factor": 1.0,
        }
    )


def write_data(folder: Path) -> None:
    """The Qlib folder ``FOLDER``, tables of prices and sectors, scores of another tool."""
    prices = make_prices()
    write_qlib(folder / "FOLDER", prices, extra=["vwap", "factor"])
    places = folder / "FOLDER" / "instruments"
    lines = (places / "all.txt").read_text().splitlines(keepends=True)
    (places / "csi300.txt").write_text("".join(x for x in lines if not x.startswith(INDICES)))
    stocks = prices[~prices["symbol"].isin(INDICES)].drop(columns=["factor", "vwap"])
    earnings = 1 + stocks.index % 7 / 7
    stocks.assign(adjusted_close=stocks["close"], earnings=earnings).to_parquet(
        folder / "prices.parquet"
    )
    sectors = pd.DataFrame({"symbol": SYMBOLS, "concept": [f"c{i % 3}" for i in range(60)]})
    sectors.to_csv(folder / "sectors.csv", index=False)
    random = np.random.default_rng(1)
    scores = stocks.loc[stocks["date"] >= "2017", ["date", "symbol"]]
    scores = scores.assign(score=random.standard_normal(len(scores)))
    scores.to_parquet(folder / "mine.parquet")
    scores.to_csv(folder / "mine.csv", index=False)
    index = {"date": "datetime", "symbol": "instrument"}
    scores.rename(columns=index).set_index([*index.values()]).to_pickle(folder / "pred.pkl")


def write_weights(folder: Path) -> None:
    """Weights of a GATs with the names that Qlib gives them."""
    names = {"encoder.rnn": "rnn", "transform": "transformation", "output": "fc", "head": "fc_out"}
    state = instantiate(compose("model=gats").model).state_dict()
    found = {"a": torch.cat([state.pop(name)[0] for name in ("source", "target")])}
    for name, tensor in state.items():
        part = next(x for x in names if name.startswith(f"{x}."))
        found[name.replace(part, names[part], 1)] = tensor
    torch.save(found, folder / "weights.pkl")


def run(*words: str) -> object:
    """Run a command with what makes it short; its exit status, or its message."""
    return exit_code(*words, *shorten(words))


def shorten(words: Sequence[str]) -> list[str]:
    more = [x for name, settings in MORE.items() if name in words for x in settings]
    short = SHORT if words[0] in ("train", "benchmark", "update") else []
    if words[0] == "benchmark":  # it sets the epochs itself
        short = [x for x in short if "epochs" not in x]
    return [*short, *more]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the pages assume."""
    folder = tmp_path_factory.mktemp("prepared")
    write_data(folder)
    write_weights(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HOME", str(folder))
        data = ["data=qlib", "data.path=FOLDER", "data.concepts=sectors.csv"]
        data += ["model=gats", "model.hidden_size=8"]
        assert run("train", *data, "hydra.run.dir=runs/mine") == 0
        for name in ("a", "b", "c", "seed0"):
            shutil.copytree("runs/mine", f"runs/{name}")
        for seed in (1, 2):
            assert run("train", *data, f"seed={seed}", f"hydra.run.dir=runs/seed{seed}") == 0
        assert run("train", *data, "model=lstm", "hydra.run.dir=runs/base") == 0
        assert run("predict", "run=runs/mine", "append=scores.parquet") == 0
        register = ["logger=mlflow", "logger.mlflow.model_name=csi300-gru"]
        for seed in range(4):
            assert (
                run("train", *data, *register, f"seed={seed}", f"hydra.run.dir=runs/v{seed}") == 0
            )
        assert run("promote", "csi300-gru/3") == 0
    return folder


@pytest.fixture
def scratch(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the folder, as the current one."""
    folder = tmp_path / "scratch"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setattr(sys, "path", [*sys.path])
    modules = {*sys.modules}
    for page in PAGES:
        write_own_files(page, folder)
    yield folder
    for name in {*sys.modules} - modules:  # the next page may have a file of this name
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


def why_not(words: Sequence[str]) -> str:
    """Why a command is not run; empty if it is."""
    if "--help" in words or words[0].startswith("-"):
        return "is help"
    if len(words) == 1 + (words[0] == "data") and words not in (["train"], ["models"]):
        return "names a command"
    return next((why for word, why in NOT_RUN.items() if word in words), "")


def failure(words: list[str]) -> str:
    """Run a command; what went wrong, or nothing."""
    if why_not(words):
        return ""
    code = run(*flags_as_keys(words, "budget"))
    expected = [said for shown, said in FAILS.items() if {*shown} <= {*words}]
    if expected:
        return "" if expected[0] in str(code) else f"alphazoo {' '.join(words)}: {code}"
    fine = code in STATUS.get(words[0], (0,))
    return "" if fine else f"alphazoo {' '.join(words)}: {code}"


def names_of(page: Path) -> dict[str, object]:
    """What the Python of a page assumes to be there."""
    prices = pd.read_parquet("prices.parquet")
    statements = prices[["symbol", "date"]].rename(columns={"date": "announced"}).assign(eps=1.0)
    windows = np.random.default_rng(0).standard_normal((5, 60, 6)).astype("float32")
    return {"prices": prices, "statements": statements, "windows": windows}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_shows_runs(page: Path, scratch: Path) -> None:
    names, wrong = names_of(page), []
    for language, text in all_blocks(page):
        if is_shell(language):
            wrong += [failure(words) for words in calls(text)]
        elif language == "python" and page != README and runs(text):
            exec(compile(text, page.name, "exec"), names)  # an error fails the test
    wrong += [failure(words) for words in inline_calls(page)]
    assert not [*filter(None, wrong)]


@pytest.mark.slow
def test_the_python_of_readme_prints_an_ic(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(README, "python")
    exec(compile(code, "README.md", "exec"), {})
    said = re.search(r"test IC (\S+)", capsys.readouterr().out)
    assert said is not None
    assert float(said[1]) == pytest.approx(0.16, abs=0.02)


def runs(code: str) -> bool:
    """Whether a block is a program of its own whose packages are installed."""
    if NAMED.match(code) or code.partition("\n")[0] in FRAGMENTS:
        return False
    lines = [line.split() for line in code.splitlines() if line.startswith(("import ", "from "))]
    return all(find_spec(words[1].partition(".")[0]) for words in lines)


def test_each_reason_not_to_run_is_needed() -> None:
    """A word that no page has any more goes out of the list."""
    found = [words for page in PAGES for words in all_calls(page)]
    for word in NOT_RUN:
        assert any(word in words for words in found), word
    ran = [words for words in found if not why_not(words)]
    assert len(ran) > 80


def all_calls(page: Path) -> list[list[str]]:
    shown = [words for kind, text in all_blocks(page) if is_shell(kind) for words in calls(text)]
    return [*shown, *inline_calls(page)]


def test_what_pages_assume_is_made(tmp_path: Path) -> None:
    """The data of the scratch folder can be read, and the weights of Qlib imported."""
    write_data(tmp_path)
    write_weights(tmp_path)
    market = instantiate(compose("data=qlib", f"data.path={tmp_path / 'FOLDER'}").data.market)()
    assert {*SYMBOLS} == {*market.symbols}
    out = tmp_path / "gats.ckpt"
    assert exit_code("import-qlib", str(tmp_path / "weights.pkl"), "model=gats", f"out={out}") == 0
