"""Mutated files of every kind: an `InputError`, or the file is read; never anything else.

``ALPHAZOO_FUZZ=SECONDS`` sets how long each kind is mutated, and ``ALPHAZOO_FUZZ_SEED`` the seed.
"""

import gzip
import json
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import small_config, small_frame, write_qlib
from mutate import limit, mutate, retype
from torch import Tensor

from alphazoo.commands.arguments import compose_config
from alphazoo.commands.job import train
from alphazoo.config import instantiate
from alphazoo.data.scores import read_scores
from alphazoo.errors import InputError, as_input_errors
from alphazoo.evaluation.compare import compare
from alphazoo.features.store import stored_panel
from alphazoo.market.concept_table import read_concepts
from alphazoo.market.market import Market
from alphazoo.models.checkpoint import read_checkpoint
from alphazoo.runs.replicates import group_replicates
from alphazoo.runs.run import Run, read_metrics, read_provenance
from alphazoo.serving.predict import predict
from alphazoo.sweep.jobs import read_job, read_jobs, run_job
from alphazoo.sweep.table import tabulate
from alphazoo.tracking import TRACKING, last_step
from alphazoo.tracking.mlflow import MLflow

SECONDS = float(os.environ.get("ALPHAZOO_FUZZ", "2"))
SEED = int(os.environ.get("ALPHAZOO_FUZZ_SEED", "0"))
HANGS = 20  # seconds that no answer takes


@dataclass
class Place:
    """A small example of every file."""

    root: Path
    market: Market

    def file(self, name: str) -> Path:
        """A file by its name, or by a pattern that only it has."""
        return next(self.root.glob(name), self.root / name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("fuzz")
    frame = small_frame(n_days=30, n_stocks=3)
    write_qlib(root / "qlib", frame)
    frame.to_csv(root / "prices.csv", index=False)
    frame.to_parquet(root / "prices.parquet", index=False)
    (root / "prices.csv.gz").write_bytes(gzip.compress((root / "prices.csv").read_bytes()))
    concepts = pd.DataFrame({"symbol": ["ST0", "ST1"], "concept": ["a", "b"]})
    concepts.to_csv(root / "concepts.csv", index=False)
    scores = frame[["date", "symbol"]].assign(score=frame["close"])
    scores.to_csv(root / "scores.csv", index=False)
    scores.to_parquet(root / "scores.parquet", index=False)
    (root / "job").mkdir()
    run_job(root / "job", ["seed=1"], lambda: None)
    train(small_config("model=linear", "trainer.max_epochs=1", f"folder={root / 'run'}"))
    state = {"mlflow": {"asked": "sqlite:///a.db", "store": "sqlite:////a.db", "run": None}}
    (root / "run" / TRACKING).write_text(json.dumps(state))
    days = pd.DataFrame({"date": frame["date"].unique()}).assign(cost=0.0, benchmark=0.0)
    days.assign(**{"return": 0.1}).to_parquet(root / "run" / "backtest.parquet", index=False)
    (root / "mine" / "model").mkdir(parents=True)
    own = "defaults: [linear]\nlr: 0.5\nweight_decay: ${seed}\n"
    (root / "mine" / "model" / "own.yaml").write_text(own)
    place = Place(root, Market.from_table(frame))
    read_cache(place)
    return place


def read_cache(place: Place) -> object:
    def compute(fields: Mapping[str, Tensor], out: Tensor) -> None:
        out[0] = fields["close"][-out.shape[1] :]

    market = place.market
    found = stored_panel(
        place.root / "cache",
        market,
        name="closes",
        columns=["close"],
        code=[],
        lookback=1,
        compute=compute,
    )
    assert torch.equal(found[0].nan_to_num(), market.field("close").nan_to_num())
    return found


numbers = count()


def read_own_yaml(place: Place) -> object:
    before = [*sys.path]
    told = ["--config-dir", str(place.root / "mine"), "model=own", f"+number={next(numbers)}"]
    try:
        with as_input_errors():
            config = compose_config(told)  # the tests compose each config once: a new number
            return instantiate(config.model)
    finally:
        sys.path[:] = before


def read_run(place: Place) -> object:
    return group_replicates([Run.open(place.file("run"))])


READERS: dict[str, Callable[[Place], object]] = {
    "qlib/calendars/day.txt": lambda p: Market.from_qlib(p.file("qlib"), universe="all"),
    "qlib/instruments/all.txt": lambda p: Market.from_qlib(p.file("qlib"), universe="all"),
    "qlib/features/st1/close.day.bin": lambda p: Market.from_qlib(p.file("qlib"), universe="all"),
    "prices.csv": lambda p: Market.from_table(p.file("prices.csv")),
    "prices.csv.gz": lambda p: Market.from_table(p.file("prices.csv.gz")),
    "prices.parquet": lambda p: Market.from_table(p.file("prices.parquet")),
    "concepts.csv": lambda p: read_concepts(p.market, range(20), table=p.file("concepts.csv")),
    "scores.csv": lambda p: read_scores(p.file("scores.csv")),
    "scores.parquet": lambda p: read_scores(p.file("scores.parquet")),
    "run/config.yaml": read_run,
    "run/metrics.json": lambda p: read_metrics(p.file("run")),
    "run/provenance.json": lambda p: read_provenance(p.file("run")),
    "run/logs/metrics.csv": lambda p: last_step(p.file("run")),
    "run/scores.parquet": lambda p: Run.open(p.file("run")).scores,
    "run/checkpoints/best.ckpt": lambda p: read_checkpoint(p.file("run/checkpoints/best.ckpt")),
    "job/status.json": lambda p: read_job(p.file("job")),
    "run/tracking.json": lambda p: MLflow.load_state(
        SimpleNamespace(folder=p.file("run"), name="mlflow")
    ),
    "run/backtest.parquet": lambda p: compare(group_replicates([Run.open(p.file("run"))])),
    "cache/*/meta.json": read_cache,
    "cache/*/panel.f32": read_cache,
    "mine/model/own.yaml": read_own_yaml,
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.thorough
def test_a_mutated_file_is_read_or_refused(place: Place, name: str) -> None:
    file, draw, read = place.file(name), random.Random(f"{SEED} {name}"), READERS[name]
    whole, end, tried = file.read_bytes(), time.monotonic() + SECONDS, 0
    with limit(HANGS):
        read(place)
    try:
        while tried < 3 or time.monotonic() < end:
            mutated = mutate(whole, draw)
            file.write_bytes(mutated)
            tried += 1
            check(lambda: read(place), file, mutated)
    finally:
        file.write_bytes(whole)
    print(f"{name}: {tried} mutations")


CHANGED: dict[str, Callable[[Place], object]] = {
    "run/config.yaml": lambda p: predict(Run.open(p.file("run")), date="2015-06-30"),
    "run/metrics.json": lambda p: compare(group_replicates([Run.open(p.file("run"))])),
    "run/provenance.json": lambda p: compare(group_replicates([Run.open(p.file("run"))])),
    "job/status.json": lambda p: tabulate(read_jobs(p.root)),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_file_with_a_value_of_another_type_is_used_or_refused(place: Place, name: str) -> None:
    file, draw, read = place.file(name), random.Random(f"{SEED} {name}"), CHANGED[name]
    whole, end, tried = file.read_bytes(), time.monotonic() + SECONDS, 0
    content = yaml.load(whole, yaml.CSafeLoader)  # JSON is YAML, too
    try:
        while tried < 3 or time.monotonic() < end:
            file.write_text(json.dumps(retype(content, draw)))
            tried += 1
            check(lambda: read(place), file, file.read_bytes())
    finally:
        file.write_bytes(whole)
    print(f"{name}: {tried} values of other types")


def test_a_year_that_python_does_not_have_is_refused() -> None:
    frame = small_frame(n_days=30, n_stocks=3)
    days = frame["date"].astype("datetime64[us]").to_numpy().copy()
    days[40] = np.datetime64(3 * 10**18, "us")
    with pytest.raises(InputError, match=r"year 97036 is out of range, not within 1678 to 2261"):
        Market.from_table(frame.assign(date=days))


@pytest.mark.parametrize("key", ["trainer", "features", "seed"])
def test_a_config_without_a_node_is_refused(place: Place, key: str) -> None:
    config = yaml.load(place.file("run/config.yaml").read_text(), yaml.CSafeLoader)
    del config[key]
    folder = place.file(f"without-{key}")
    folder.mkdir()
    (folder / "config.yaml").write_text(json.dumps(config))
    with pytest.raises(InputError, match=rf"config\.yaml is damaged: .*{key}"):
        Run.open(folder)


def check(read: Callable[[], object], file: Path, mutated: bytes) -> None:
    """Fail with the mutated file beside, unless it is read or refused in one line."""
    try:
        with limit(HANGS):
            read()
    except InputError as error:
        said = str(error)
        fault = "several lines: " + said if "\n" in said else ""
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
    else:
        fault = ""
    if fault:
        kept = file.with_name(f"failed-{file.name}")
        kept.write_bytes(mutated)
        pytest.fail(f"{kept}: {fault}")
