"""Small markets of every source, and one small fitted run of every model."""

import copy
import gc
import io
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO
from unittest.mock import patch

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose as hydra_compose
from markets import INDEX, adjust, market_frame, with_events
from omegaconf import Container, DictConfig, OmegaConf, open_dict

from alphazoo.cli import main
from alphazoo.config import compose, config_dir, instantiate
from alphazoo.data.days import DayBatch
from alphazoo.data.module import MarketDataModule
from alphazoo.market.concepts import ConceptSource
from alphazoo.market.market import Market
from alphazoo.metrics import summary
from alphazoo.models.base import StockModel
from alphazoo.training.fit import score_table

os.environ["ALPHAZOO_CACHE"] = ""  # features are computed anew
os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start; they are small

SHARED = Path(__file__).parents[2] / "shared" / "data"
MODELS = sorted(file.stem for file in (config_dir() / "model").glob("*.yaml"))
EXPERIMENTS = sorted(file.stem for file in (config_dir() / "experiment").glob("*.yaml"))
FEATURES = sorted(file.stem for file in (config_dir() / "features").glob("*.yaml"))
SCALERS = sorted(file.stem for file in (config_dir() / "scaler").glob("*.yaml"))
SOURCES = ("qlib", "table", "synthetic")

# a market small enough for a second: 130 days, 12 stocks, windows of 20 days; 20 steps an epoch
SMALL = [
    "data.n_days=130",
    "data.n_stocks=12",
    "data.n_sectors=2",
    "data.train=['2015-02-01', '2015-04-15']",
    "data.valid=['2015-04-16', '2015-05-15']",
    "data.test=['2015-05-16', null]",
    "data.min_stocks=2",
    "features.window=20",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=2",
    "++trainer.limit_train_batches=20",
    "report=false",
]


# without what only the synthetic market has
SEGMENTS = [override for override in SMALL if "data." in override and "n_" not in override]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


@pytest.fixture(autouse=True, scope="session")
def _garbage_is_looked_for_once() -> Iterator[None]:
    """What survives a full collection, such as a million objects of libraries, is left alone.

    Every run begins with a full collection, which takes half a second otherwise.
    """

    def freeze(phase: str, info: Mapping[str, int]) -> None:
        if phase == "stop" and info["generation"] == 2:
            gc.freeze()

    gc.callbacks.append(freeze)
    yield
    gc.callbacks.remove(freeze)


@pytest.fixture(autouse=True, scope="session")
def _configs_are_read_once() -> Iterator[None]:
    """Composing takes a tenth of a second, and most tests ask for a config that others had, too."""
    compose_once, parse_once = cache(hydra_compose), cache(_parse)

    def composed(name: str, overrides: Sequence[str], return_hydra_config: bool) -> DictConfig:
        shared = tuple(text for text in overrides if not text.startswith("folder="))
        config = compose_once(name, overrides=shared, return_hydra_config=return_hydra_config)
        config = copy.deepcopy(config)
        with open_dict(config):
            for folder in (text for text in overrides if text not in shared):
                config.folder = folder.partition("=")[2]
        return config

    def load(file: str | Path | IO[str]) -> Container:
        text = Path(file).read_text("utf-8") if isinstance(file, str | Path) else file.read()
        return copy.deepcopy(parse_once(text))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("alphazoo.config.hydra_compose", composed)
        patch.setattr(OmegaConf, "load", load)
        yield


def _parse(text: str, load: Callable[[IO[str]], Container] = OmegaConf.load) -> Container:
    return load(io.StringIO(text))


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """Lightning leaves in it what processes of one training know each other by."""
    with patch.dict(os.environ):
        yield


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """A command leaves handlers that write to the output of its test, which is then closed."""
    root = logging.getLogger()
    before = [*root.handlers]
    yield
    for handler in {*root.handlers}.difference(before):
        root.removeHandler(handler)


def real_data(name: str) -> Path:
    """A folder of the real markets; the test is skipped where they are not."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs the real market in {path}, which is not part of the project")
    return path


def small_config(*overrides: str) -> DictConfig:
    return compose(*SMALL, *overrides)


def model_overrides(name: str, **wanted: object) -> list[str]:
    """Choose a model; of the settings those that it has, and an index if it reads the market."""
    known = compose(f"model={name}").model
    overrides = [f"model.{key}={x}" for key, x in wanted.items() if key in known]
    return [f"model={name}", *overrides, *(["data.indices=[MARKET]"] * ("n_market" in known))]


def small_frame(n_days: int = 130, n_stocks: int = 8, seed: int = 0) -> pd.DataFrame:
    """A long table of random prices, in the columns that the table source reads by default."""
    random = np.random.default_rng(seed)
    dates = pd.bdate_range("2015-01-01", periods=n_days)
    close = 50 * np.exp(np.cumsum(0.02 * random.standard_normal((n_days, n_stocks)), axis=0))
    frame = pd.DataFrame(
        {
            "date": np.repeat(dates, n_stocks),
            "symbol": np.tile([f"ST{i}" for i in range(n_stocks)], n_days),
            "open": (close * 1.01).ravel(),
            "high": (close * 1.02).ravel(),
            "low": (close * 0.98).ravel(),
            "close": close.ravel(),
            "volume": random.integers(1000, 9000, n_days * n_stocks).astype(float),
        }
    )
    return frame.assign(adjusted_close=frame["close"] * 0.5)


def write_qlib(folder: Path, frame: pd.DataFrame, extra: Sequence[str] = ()) -> Path:
    """Write a long table as a Qlib data folder with the universes ``all`` and ``some``."""
    dates = pd.DatetimeIndex(sorted(frame["date"].unique()))
    (folder / "calendars").mkdir(parents=True)
    (folder / "calendars" / "day.txt").write_text("".join(f"{d:%Y-%m-%d}\n" for d in dates))
    (folder / "instruments").mkdir()
    lines = []
    for symbol, rows in frame.groupby("symbol"):
        stock = folder / "features" / str(symbol).lower()
        stock.mkdir(parents=True)
        first, last = rows["date"].iloc[[0, -1]]
        start, end = dates.get_indexer([first, last])
        whole = rows.set_index("date").reindex(dates[start : end + 1])  # NaN on suspended days
        for field in ("open", "high", "low", "close", "volume", *extra):
            values = np.concatenate([[start], whole[field]]).astype("<f4")
            values.tofile(stock / f"{field}.day.bin")
        for since, until in member_periods(rows) if "member" in rows else [(first, last)]:
            lines.append(f"{symbol}\t{since:%Y-%m-%d}\t{until:%Y-%m-%d}\n")
    (folder / "instruments" / "all.txt").write_text("".join(lines))
    (folder / "instruments" / "some.txt").write_text(
        "ST0\t2015-01-01\t2015-02-27\nST0\t2015-04-01\t2020-01-01\nST1\t2015-01-01\t2020-01-01\n"
    )
    return folder


def member_periods(rows: pd.DataFrame) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """First and last days of the memberships of a stock; for one without any, before its days."""
    if not rows["member"].any():
        day = rows["date"].iloc[0] - pd.Timedelta(days=30)
        return [(day, day)]
    runs = rows[rows["member"]].groupby((~rows["member"]).cumsum())["date"]
    return [(days.iloc[0], days.iloc[-1]) for _, days in runs]


@pytest.fixture
def frame() -> pd.DataFrame:
    return small_frame()


@pytest.fixture
def qlib_folder(tmp_path: Path, frame: pd.DataFrame) -> Path:
    return write_qlib(tmp_path / "qlib", frame)


@pytest.fixture(params=SOURCES)
def small_market(request: pytest.FixtureRequest, tmp_path: Path) -> Market:
    """The same kind of market from each source, with an index; see `markets`."""
    if request.param == "synthetic":
        return with_events(instantiate(small_config("data.indices=[MARKET]").data.market)())
    return read_frame(request.param, market_frame(), tmp_path / "market")


def read_frame(source: str, frame: pd.DataFrame, folder: Path) -> Market:
    """A market from the table of `market_frame`, by way of the files of a source."""
    symbol = f"ST{INDEX}"
    if source == "qlib":
        write_qlib(folder, adjust(frame), extra=["vwap", "factor"])
        return Market.from_qlib(folder, universe="all", indices=[symbol])
    columns = {name: name for name in ("adjusted_close", "vwap", "member")}
    return Market.from_table(frame, columns=columns, extra=["earnings"], indices=[symbol])


def make_data(
    config: DictConfig, market: Market | None = None, concepts: ConceptSource | None = None
) -> MarketDataModule:
    """The data module of a config, on another market with concepts of its own if one is given."""
    other = {} if market is None else {"market": market, "concepts": concepts}
    return instantiate(config.datamodule, **other)


@dataclass
class Run:
    """A fitted model with what it was fitted on."""

    name: str
    config: DictConfig
    model: StockModel
    data: MarketDataModule
    trainer: L.Trainer
    day: DayBatch

    @property
    def last_checkpoint(self) -> Path:
        return Path(self.config.folder) / "checkpoints" / "last.ckpt"


def fit(config: DictConfig, market: Market | None = None, name: str = "") -> Run:
    L.seed_everything(config.seed, verbose=False)
    data = make_data(config, market)
    model = instantiate(config.model)
    trainer = instantiate(config.trainer)
    trainer.fit(model, data)
    model.eval()
    return Run(name, config, model, data, trainer, data.days("test")[0])


@pytest.fixture(scope="session", params=MODELS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One small fitted run of every model in the zoo."""
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    overrides = model_overrides(name, hidden_size=8, feedforward_size=16, lambda_l1=0)
    config = small_config(*overrides, f"folder={folder}")
    return fit(config, name=name)


@dataclass
class Result:
    code: object
    out: str
    err: str


Alphazoo = Callable[..., Result]


def exit_code(*arguments: str) -> object:
    """Run a command in this process and folder."""
    with patch("sys.argv", ["alphazoo", *arguments]):
        try:
            main()
        except SystemExit as stop:
            return stop.code
    return 0


@pytest.fixture
def alphazoo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Alphazoo:
    """Run a command in this process and in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Result:
        code = exit_code(*arguments)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


def fit_strong_reversal(folder: Path, *overrides: str) -> tuple[float, float]:
    """Test IC of a fit on a market with a strong reversal, and the best of one stock's window."""
    market = Market.from_synthetic(
        n_days=260, n_stocks=40, n_sectors=4, reversal=0.5, lead_lag=0.0, seed=1
    )
    config = small_config(
        *overrides,
        "features.window=10",
        "++trainer.limit_train_batches=1.0",
        "data.train=[2015-01-01, 2015-08-31]",
        "data.valid=[2015-09-01, 2015-10-15]",
        "data.test=[2015-10-16, null]",
        f"folder={folder}",
    )
    run = fit(config, market)
    score_table(run.trainer, run.model, run.data, "test")
    found = summary(run.model.scores("test"))["ic"]
    return found, market.oracle_ic("own", first="2015-10-16")


MakeDay = Callable[..., DayBatch]


@pytest.fixture
def make_day() -> MakeDay:
    """A day of random features."""

    def make(
        n_stocks: int,
        window: int = 20,
        n_features: int = 6,
        n_market: int = 0,
        n_concepts: int = 3,
        seed: int = 0,
    ) -> DayBatch:
        random = torch.Generator().manual_seed(seed)
        return DayBatch(
            features=torch.randn(n_stocks, window, n_features, generator=random),
            labels=torch.randn(n_stocks, generator=random),
            returns=0.02 * torch.randn(n_stocks, generator=random),
            stocks=torch.arange(n_stocks),
            concepts=(torch.rand(n_stocks, n_concepts, generator=random) < 0.5).float(),
            date=torch.tensor(0),
            market=torch.randn(n_market, generator=random),
        )

    return make


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow without runs; its tables take seconds to make."""
    pytest.importorskip("mlflow", reason="needs pip install 'alphazoo[mlflow]'")
    from alphazoo.tracking.store import connect

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(f"sqlite:///{file}")
    return file
