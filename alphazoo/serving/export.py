"""Export a finished run to a folder from which it scores without this package's training code."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from alphazoo.errors import InputError, check_choice
from alphazoo.files import replace_folder, write_json, write_text
from alphazoo.metrics import day_ranks, pearson, to_panel
from alphazoo.models.lightgbm import LightGBM
from alphazoo.runs.folders import refuse_run_folder
from alphazoo.runs.run import Run
from alphazoo.serving.graph import Inputs, Scaling, Scoring, read_inputs, trace
from alphazoo.serving.load import LoadedRun, load_run
from alphazoo.serving.onnx_file import check_installed, quantise, write_onnx
from alphazoo.serving.scorer import MODEL, MODEL_JSON, SCALER, TREES, Scorer, file_digest

PROGRAM = "model.pt2"
FORMATS = ("onnx", "torch")
PRECISIONS = ("float32", "int8")
TOLERANCE = 1e-5  # largest difference of a float32 score
MIN_CORRELATION = 0.99  # rank correlation of int8 scores with float32, mean over validation days

Score = Callable[[Inputs], np.ndarray[Any, np.dtype[np.float32]]]


@dataclass(frozen=True)
class Check:
    """The exported model compared with the run on all validation days.

    Attributes:
        days: Number of days.
        difference: Largest absolute difference of a score.
        correlation: Spearman correlation of the scores of a day, mean over days.
        lowest_correlation: That of the day on which it is lowest.
        bytes: Size of the exported files.
        float32_bytes: Their size in float32.
        ms: Milliseconds that the exported model takes for a day, median over days.
        torch_ms: Milliseconds that torch takes, on as many threads.
    """

    days: int
    difference: float
    correlation: float
    lowest_correlation: float
    bytes: int
    float32_bytes: int
    ms: float
    torch_ms: float


def export_run(run: Run, out: Path, *, kind: str = "onnx", precision: str = "float32") -> Check:
    """Write a run as a model that needs no config and no data, and compare its scores.

    The folder holds ``model.json`` and the files that it names with their digests: ``model.onnx``,
    ``model.pt2`` (`torch.export`) or, for LightGBM, ``scaler.onnx`` and ``trees.txt``. Unscaled
    windows go in, because the scaler is part of the graph.

    Args:
        run: The run, whose data must have its validation days.
        out: Folder to create; an earlier export in it is replaced.
        kind: ``"onnx"`` or ``"torch"``.
        precision: ``"float32"`` or ``"int8"``.

    Raises:
        InputError: The model cannot be exported, or its scores differ by more than `TOLERANCE`, or
            those of int8 have a rank correlation below `MIN_CORRELATION`.
    """
    check_choice("format", kind, FORMATS)
    check_choice("precision", precision, PRECISIONS)
    if kind == "torch" and precision == "int8":
        raise InputError("precision=int8 needs format=onnx, whose quantisation it is")
    if "ensemble" in run.config:
        raise InputError(f"{run.folder} is an ensemble: export each of its runs")
    if kind == "onnx":
        check_installed()
    _check_target(out)
    loaded = load_run(run, accelerator="cpu", precision="32-true")
    if loaded.model.fixed_universe:
        raise InputError(
            f"{type(loaded.model).__name__} scores the stocks of its universe only, and an "
            "exported model takes any number of stocks: use alphazoo predict"
        )
    known = loaded.score("valid")
    loaded.model.eval()
    with replace_folder(out) as folder:
        inputs, size = _write(loaded, folder, kind, precision)
        files = {file.name: file_digest(file) for file in sorted(folder.iterdir())}
        about = describe(loaded, kind, precision, inputs)
        write_json(folder / MODEL_JSON, {**about, "files": files})
        score = _run_program(folder / PROGRAM) if kind == "torch" else _run_scorer(folder)
        check = compare(loaded, known, score, folder, size)
        _judge(check, precision)
        write_json(folder / MODEL_JSON, {**about, "files": files, "check": asdict(check)})
    return check


def describe(loaded: LoadedRun, kind: str, precision: str, inputs: list[str]) -> dict[str, Any]:
    """Return what a user of the exported model must know."""
    data, label = loaded.data, loaded.data.label
    return {
        "model": type(loaded.model).__name__,
        "format": kind,
        "precision": precision,
        "inputs": inputs,
        "window": data.features.window,
        "columns": [*data.features.columns],
        "concepts": [*(data.concepts.names if data.concepts else ())],
        "market": [*data.days("train").panels.market.columns],
        "memory": [*loaded.model.recall(data.days("valid")[0]).shape[1:]],
        "scaler": f"{type(data.scaler).__name__}, inside the graph: inputs are unscaled",
        "label": {"buy": label.buy, "sell": label.sell},
        "run": str(loaded.run.folder.resolve()),
        "checkpoint": loaded.digest,
        "days": loaded.content["MarketDataModule"]["days"],
        "provenance": loaded.run.provenance,
    }


def _write(loaded: LoadedRun, folder: Path, kind: str, precision: str) -> tuple[list[str], int]:
    """Write the files of a model; return the inputs that it reads, and its size in float32."""
    data, model = loaded.data, loaded.model
    rows = data.segments["valid"]
    inputs = max((read_inputs(data, model, row) for row in rows[:: len(rows) - 1 or 1]), key=_count)
    if _count(inputs) < 2:
        raise InputError("export needs a validation day with at least two stocks")
    if isinstance(model, LightGBM):
        return ["features"], _write_trees(model, Scaling(data.scaler), inputs, folder, precision)
    panels = data.days("train").panels
    module = Scoring(model, data.scaler, panels.market.scaler).eval()
    program = trace(module, inputs)
    used = {node.name for node in program.graph.nodes if node.op == "placeholder" and node.users}
    if kind == "torch":
        torch.export.save(program, folder / PROGRAM)
        return [*inputs], _size(folder)
    write_onnx(program, module, folder / MODEL)
    size = _size(folder)
    if precision == "int8":
        quantise(folder / MODEL)
    return [name for name in inputs if name in used], size


def _write_trees(
    model: LightGBM, module: Scaling, inputs: Inputs, folder: Path, precision: str
) -> int:
    if precision == "int8":
        raise InputError("precision=int8: LightGBM has trees instead of weights to quantise")
    program = trace(module, {"features": inputs["features"]})
    write_onnx(program, module, folder / SCALER)
    write_text(folder / TREES, model.get_extra_state()["trees"])
    return _size(folder)


def compare(
    loaded: LoadedRun, known: pd.DataFrame, score: Score, folder: Path, float32_bytes: int
) -> Check:
    """Compare scores of the validation days with those that the run gives them."""
    data, panels = loaded.data, loaded.data.days("valid").panels
    found, seconds, torch_seconds = [], [], []
    for row in data.segments["valid"]:
        inputs = read_inputs(data, loaded.model, row)
        start = time.perf_counter()
        found.append(score(inputs))
        seconds.append(time.perf_counter() - start)
        day = panels.day(row)
        start = time.perf_counter()
        with torch.inference_mode():
            loaded.model(day)
        torch_seconds.append(time.perf_counter() - start)
    days = pd.factorize(known["date"])[0]
    places = known.groupby(days).cumcount().to_numpy()
    expected = to_panel(known["score"], days, places)
    exported = to_panel(np.concatenate(found), days, places)
    correlation = pd.Series(pearson(day_ranks(expected), day_ranks(exported)))
    return Check(
        days=len(found),
        difference=float(np.nanmax(np.abs(exported - expected))),
        correlation=float(correlation.mean()),
        lowest_correlation=float(correlation.min()),
        bytes=_size(folder),
        float32_bytes=float32_bytes,
        ms=1e3 * float(np.median(seconds)),
        torch_ms=1e3 * float(np.median(torch_seconds)),
    )


def _judge(check: Check, precision: str) -> None:
    if precision == "float32" and not check.difference <= TOLERANCE:
        raise InputError(
            f"the exported scores differ from those of the run by up to {check.difference:.2g} on "
            f"{check.days} validation days, expected at most {TOLERANCE}: does forward read "
            "day.stocks, day.date or random numbers, which an exported model does not have?"
        )
    if precision == "int8" and not check.correlation >= MIN_CORRELATION:
        raise InputError(
            f"the rank correlation of int8 scores with float32 is {check.correlation:.4f} on "
            f"{check.days} validation days, expected at least {MIN_CORRELATION}: use "
            "precision=float32"
        )


def _run_scorer(folder: Path) -> Score:
    scorer = Scorer(folder, threads=torch.get_num_threads())

    def score(inputs: Inputs) -> Any:
        given = {name: value.numpy() for name, value in inputs.items()}
        return scorer(given.pop("features"), **given)

    return score


def _run_program(file: Path) -> Score:
    module = torch.export.load(file).module()  # which this process has just written

    def score(inputs: Inputs) -> Any:
        with torch.no_grad():
            return module(**inputs).numpy()

    return score


def _size(folder: Path) -> int:
    """Return the bytes of the files of a model, without ``model.json``."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.name != MODEL_JSON)


def _count(inputs: Inputs) -> int:
    return len(inputs["features"])


def _check_target(out: Path) -> None:
    refuse_run_folder(out)
    if out.exists() and not (out / MODEL_JSON).is_file() and (out.is_file() or any(out.iterdir())):
        raise InputError(f"{out} exists and holds no exported model: choose another folder as out")
