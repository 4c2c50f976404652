"""Exported models score as the run does, for any number of stocks and without torch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MODELS, Alphazoo, model_overrides, small_config
from torch import nn

from alphazoo.commands.job import train
from alphazoo.data.days import DayBatch
from alphazoo.data.scaling import RobustZScore
from alphazoo.errors import InputError
from alphazoo.runs.run import Run
from alphazoo.serving.export import Check, _judge, export_run
from alphazoo.serving.graph import Inputs, Scoring, trace
from alphazoo.serving.load import LoadedRun, load_run
from alphazoo.serving.onnx_file import write_onnx
from alphazoo.serving.scorer import Scorer

QUICK = ["++trainer.limit_train_batches=2", "trainer.max_epochs=1"]
WINDOW, FEATURES = 20, 6


def trained(folder: Path, *overrides: str) -> Run:
    train(small_config(*QUICK, *overrides, f"folder={folder}"))
    return Run.open(folder)


def random_inputs(
    n_stocks: int, n_concepts: int, n_market: int, memory: tuple[int, ...] = (0, 0)
) -> Inputs:
    random = torch.Generator().manual_seed(n_stocks)
    features = 1 + 0.1 * torch.randn(n_stocks, WINDOW, FEATURES, generator=random)
    features[torch.rand(features.shape, generator=random) < 0.01] = torch.nan
    concepts = (torch.rand(n_stocks, n_concepts, generator=random) < 0.5).float()
    return {
        "features": features,
        "concepts": concepts,
        "market": torch.randn(n_market),
        "memory": torch.rand(n_stocks, *memory, generator=random),
    }


def scoring(loaded: LoadedRun) -> Scoring:
    """What is exported, as a module of torch."""
    loaded.score("valid")  # loads the weights
    market = loaded.data.days("train").panels.market.scaler
    return Scoring(loaded.model, loaded.data.scaler, market).eval()


def largest_difference(model: Scorer, module: Scoring, n_stocks: int) -> float:
    about = model.about
    sizes = len(about["concepts"]), len(about["market"])
    inputs = random_inputs(n_stocks, *sizes, about["memory"])
    with torch.no_grad():
        expected = module(**inputs).numpy()
    given = {name: inputs[name].numpy() for name in ("concepts", "market", "memory")}
    found = model(inputs["features"].numpy(), **given)
    assert found.shape == (n_stocks,)
    return float(np.abs(found - expected).max())


@pytest.fixture(scope="module")
def gru(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("gru"), "model=gru", "model.hidden_size=8")


@pytest.fixture(scope="module")
def exported(gru: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "gru"
    export_run(gru, out)
    return out


def test_a_gru_scores_any_number_of_stocks(gru: Run, exported: Path) -> None:
    module, model = scoring(load_run(gru, accelerator="cpu")), Scorer(exported)
    for n_stocks in (1, 2, 17, 300):
        assert largest_difference(model, module, n_stocks) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_model_scores_any_number_of_stocks(name: str, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", *model_overrides(name, hidden_size=8, lambda_l1=0))
    module = scoring(load_run(run, accelerator="cpu"))
    if module.model.fixed_universe:
        with pytest.raises(InputError, match="scores the stocks of its universe only"):
            export_run(run, tmp_path / "onnx")
        return
    assert export_run(run, tmp_path / "onnx").difference < 1e-5
    model = Scorer(tmp_path / "onnx")
    for n_stocks in (1, 2, 17, 300, 5000):
        assert largest_difference(model, module, n_stocks) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["transformer", "localformer"])
def test_int8_takes_a_third_of_the_space(name: str, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", f"model={name}")
    check = export_run(run, tmp_path / "int8", precision="int8")
    assert check.bytes <= 0.35 * check.float32_bytes
    assert check.correlation >= 0.99


@pytest.mark.slow
def test_torchs_own_format_scores_the_same(gru: Run, tmp_path: Path) -> None:
    assert export_run(gru, tmp_path / "torch", kind="torch").difference < 1e-5
    with pytest.raises(InputError, match=r"holds no model\.onnx: export with format=onnx"):
        Scorer(tmp_path / "torch")


def test_the_scorer_needs_no_torch(exported: Path) -> None:
    code = f"""
import sys
import numpy as np
for name in ("torch", "lightning", "pandas", "onnx"):
    sys.modules[name] = None  # an import of it fails
from alphazoo.serving.scorer import Scorer
model = Scorer({str(exported)!r}, threads=1)
print(model(np.ones((3, model.window, len(model.columns)))).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(3,)"


def test_model_json_says_what_goes_in(gru: Run, exported: Path) -> None:
    about = json.loads((exported / "model.json").read_text("utf-8"))
    assert about["inputs"] == ["features"]  # a GRU reads no concepts, although there are some
    assert about["columns"] == ["close", "open", "high", "low", "vwap", "volume"]
    assert (about["window"], about["label"]) == (WINDOW, {"buy": 1, "sell": 2})
    assert about["checkpoint"] == load_run(gru).digest
    assert about["check"]["difference"] < 1e-5
    assert about["provenance"] == gru.provenance


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((0, WINDOW, FEATURES), "features: expected an array of shape"),
        ((3, WINDOW - 1, FEATURES), r"features: .* shape \[3, 20, 6\], got \[3, 19, 6\]"),
        ((WINDOW, FEATURES), "features: expected an array of shape"),
    ],
)
def test_windows_of_another_shape_are_refused(
    exported: Path, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Scorer(exported)(np.ones(shape))


def test_a_damaged_model_is_refused(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"has no model\.json"):
        Scorer(tmp_path)
    about = (exported / "model.json").read_text("utf-8")
    (tmp_path / "model.json").write_text(about)
    with pytest.raises(InputError, match=r"lacks model\.onnx"):
        Scorer(tmp_path)
    (tmp_path / "model.onnx").write_bytes((exported / "model.onnx").read_bytes()[:-1])
    with pytest.raises(InputError, match=r"model\.onnx is damaged: its digest"):
        Scorer(tmp_path)
    (tmp_path / "model.json").write_text(about[:100])
    with pytest.raises(InputError, match=r"model\.json is damaged"):
        Scorer(tmp_path)
    (tmp_path / "model.json").write_text('{"format": "onnx", "window": "20"}')
    with pytest.raises(InputError, match=r"model\.json is damaged: window must be a int"):
        Scorer(tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match="needs onnxruntime, which is not installed"):
        Scorer(exported)


def check(difference: float, correlation: float) -> Check:
    return Check(20, difference, correlation, correlation, 1, 1, 1.0, 1.0)


def test_scores_that_differ_are_refused() -> None:
    _judge(check(1e-6, 1.0), "float32")
    _judge(check(0.1, 0.991), "int8")
    for difference in (2e-5, float("nan")):
        with pytest.raises(InputError, match="differ from those of the run by up to"):
            _judge(check(difference, 1.0), "float32")
    for correlation in (0.989, float("nan")):
        with pytest.raises(InputError, match=r"rank correlation .* expected at least 0\.99"):
            _judge(check(0.1, correlation), "int8")


class Careless(nn.Module):
    """A user's own model, which depends on the values of its inputs."""

    def forward(self, day: DayBatch) -> torch.Tensor:
        return day.features[:, -1, 0] * float(day.features.mean())


class Sorting(nn.Module):
    """A user's own model with an operator that ONNX lacks."""

    def forward(self, day: DayBatch) -> torch.Tensor:
        return torch.searchsorted(day.features[0, :, 0].sort().values, day.features[:, -1, 0])


def test_a_model_that_cannot_be_exported_is_told_why(tmp_path: Path) -> None:
    scaler = RobustZScore(3.0, 100)
    scaler.center, scaler.scale = torch.zeros(1, 1, FEATURES), torch.ones(1, 1, FEATURES)
    careless, sorting = (Scoring(kind(), scaler, scaler) for kind in (Careless, Sorting))  # type: ignore[arg-type]
    inputs = random_inputs(5, 0, 0)
    with pytest.raises(InputError, match=r"Careless cannot be exported: .*docs/export\.md"):
        trace(careless, inputs)
    program = trace(sorting, inputs)
    with pytest.raises(
        InputError, match=r"ONNX lacks the operator aten.searchsorted.*format=torch"
    ):
        write_onnx(program, sorting, tmp_path / "model.onnx")


def test_what_cannot_be_exported_is_one_line(
    alphazoo: Alphazoo, gru: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    run = f"run={gru.folder}"
    for arguments, message in {
        (run,): "expected: alphazoo export run=FOLDER out=FOLDER",
        (run, "out=x", "format=onx"): "unknown format 'onx'; did you mean 'onnx'",
        (run, "out=x", "precision=int4"): "unknown precision 'int4'",
        (run, "out=x", "precision=int8", "format=torch"): "precision=int8 needs format=onnx",
        (run, "out=taken"): "taken exists and holds no exported model",
        (run, f"out={gru.folder}"): "is the folder of a run",
    }.items():
        assert message in str(alphazoo("export", *arguments).code)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert "needs onnxscript, which is not installed" in str(alphazoo("export", run, "out=x").code)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
