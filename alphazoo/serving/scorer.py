"""Scores the stocks of a day with an exported model; needs numpy and onnxruntime, not torch.

A model that `alphazoo export` wrote as LightGBM's trees needs lightgbm in addition.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alphazoo.errors import InputError

MODEL_JSON = "model.json"
MODEL, SCALER, TREES = "model.onnx", "scaler.onnx", "trees.txt"

Floats = npt.NDArray[np.float32]


class Scorer:
    """A model in a folder that ``alphazoo export ... format=onnx`` wrote.

    Args:
        folder: The folder, whose files must have the digests that its ``model.json`` states.
        threads: Number of threads; None for all cores.

    Attributes:
        about: Content of ``model.json``.
        columns: [F], names of the features.
        window: T, number of days in a window.
        inputs: Names of the inputs that the model reads, of ``features``, ``concepts``, ``market``
            and ``memory``.

    Raises:
        InputError: A file is missing or damaged, or a library is not installed.
    """

    def __init__(self, folder: str | Path, *, threads: int | None = None) -> None:
        self._folder = Path(folder)
        self.about = read_about(self._folder)
        self.columns: list[str] = self.about["columns"]
        self.window: int = self.about["window"]
        self.inputs: list[str] = self.about["inputs"]
        self._trees = None
        names = self.about["files"]
        if TREES in names:
            self._trees = _load_trees(self._folder / TREES)
        elif MODEL not in names:
            raise InputError(f"{folder} holds no {MODEL}: export with format=onnx")
        file = self._folder / (MODEL if self._trees is None else SCALER)
        self._session = _load_graph(file, threads)

    def __call__(
        self,
        features: npt.ArrayLike,
        *,
        concepts: npt.ArrayLike | None = None,
        market: npt.ArrayLike | None = None,
        memory: npt.ArrayLike | None = None,
    ) -> Floats:
        """Score the stocks of a day.

        Args:
            features: [N, T, F], unscaled windows, oldest day first; NaN where unknown.
            concepts: [N, C], weight of each stock in each concept, 0 for no member.
            market: [M], unscaled market state.
            memory: [N, L, K], what the model remembers of the stocks; L and K are those of
                ``about["memory"]``.

        Returns:
            [N], one score per stock.

        Raises:
            InputError: An input is missing or has another shape.
        """
        given = {"features": features, "concepts": concepts, "market": market, "memory": memory}
        n = len(np.asarray(features))
        shapes = {
            "features": (n, self.window, len(self.columns)),
            "concepts": (n, len(self.about["concepts"])),
            "market": (len(self.about["market"]),),
            "memory": (n, *self.about.get("memory", ())),
        }
        feed = {name: _array(name, given[name], shapes[name]) for name in self.inputs}
        result = self._session.run(None, feed)[0]
        if self._trees is not None:
            result = self._trees.predict(result.reshape(n, -1))
        return np.asarray(result, dtype=np.float32)


def read_about(folder: Path) -> Mapping[str, Any]:
    """Read ``model.json`` and compare the files of the folder with its digests.

    Raises:
        InputError: A file is missing or damaged.
    """
    file = folder / MODEL_JSON
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no exported model: it has no {MODEL_JSON}") from error
    except ValueError as error:
        raise InputError(f"{file} is damaged: {error}") from error
    kinds = {
        "format": str,
        "window": int,
        "files": dict,
        **dict.fromkeys(("columns", "inputs", "concepts", "market"), list),
    }
    for key, kind in kinds.items():
        if not isinstance(about, dict) or not isinstance(about.get(key), kind):
            raise InputError(f"{file} is damaged: {key} must be a {kind.__name__}")
    for name, expected in about["files"].items():
        path = folder / Path(name).name
        if not path.is_file():
            raise InputError(f"{folder} lacks {path.name}, which {MODEL_JSON} names")
        if file_digest(path) != expected:
            raise InputError(f"{path} is damaged: its digest is not the one in {MODEL_JSON}")
    checked: Mapping[str, Any] = about
    return checked


def file_digest(file: Path) -> str:
    """Return the digest of a file that ``model.json`` states."""
    return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()


def _array(name: str, value: npt.ArrayLike | None, shape: tuple[int, ...]) -> Floats:
    if value is None:
        raise InputError(f"the model reads {name}, which is missing")
    found = np.ascontiguousarray(value, dtype=np.float32)
    if found.shape != shape or 0 in shape:
        raise InputError(f"{name}: expected an array of shape {[*shape]}, got {[*found.shape]}")
    return found


def _load_graph(file: Path, threads: int | None) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            "the scorer needs onnxruntime, which is not installed: pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of any kind
        said = " ".join(str(error).split())
        raise InputError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load {file}: {said}"
        ) from error


def _load_trees(file: Path) -> Any:
    try:
        import lightgbm
    except ImportError as error:
        raise InputError("the model consists of LightGBM's trees: pip install lightgbm") from error
    return lightgbm.Booster(model_file=str(file))
