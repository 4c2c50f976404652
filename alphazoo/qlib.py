"""Import what Qlib and the authors of MASTER saved: weights of networks, and Qlib's scores."""

import re
from collections.abc import Mapping
from pathlib import Path

import lightning as L
import pandas as pd
import torch
from torch import Tensor

from alphazoo.data.scores import read_scores
from alphazoo.errors import InputError, shorten
from alphazoo.files import load_table, load_tensors, write_atomically, write_table
from alphazoo.models.base import StockModel
from alphazoo.models.reference_names import NAMES


def load_weights(model: StockModel, state: Mapping[str, Tensor]) -> None:
    """Copy the weights of Qlib's network of the same architecture into a model.

    Args:
        model: A model of the same sizes.
        state: ``state_dict()`` of ``LSTMModel``, ``GRUModel``, ``ALSTMModel``, ``Transformer`` (of
            both files), ``TCNModel``, ``SFM_Model``, ``GATModel``, ``HISTModel``, ``IGMTFModel``,
            ``KRNNModel``, ``SandwichModel`` or ``ADDModel`` in ``qlib.contrib.model.pytorch_*``;
            of ``RNN`` and ``TRA`` in ``pytorch_tra`` under ``model.`` and ``tra.``; or of
            ``MASTER`` in the code of its authors.

    Raises:
        InputError: A name is missing or unknown, or a tensor has another shape.
    """
    kind = type(model).__name__
    if kind not in NAMES:
        raise InputError(f"cannot import Qlib weights into {kind}; available: {', '.join(NAMES)}")
    reshape = {"GATs": _halve_a, "SFM": _join_gates, "TCN": _turn_kernels}.get(kind, dict)
    named, unknown = _rename(reshape(state), NAMES[kind])
    ours = {
        name: tensor for name, tensor in model.state_dict().items() if not name.startswith("tables")
    }
    missing = sorted(ours.keys() - named.keys())
    unknown += sorted(named.keys() - ours.keys())
    if missing or unknown:
        raise InputError(
            f"not the weights of this {kind}: missing {shorten(missing) or 'none'}; "
            f"unknown {shorten(unknown) or 'none'}"
        )
    for name, tensor in ours.items():
        if tensor.shape != named[name].shape:
            raise InputError(
                f"{kind}: {name} is {[*named[name].shape]}, expected {[*tensor.shape]}"
            )
    model.load_state_dict(named, strict=False)


def import_weights(file: str | Path, model: StockModel, out: str | Path) -> None:
    """Convert a state dict that Qlib saved to a checkpoint.

    The days that it has seen are unknown, so a run that starts from it needs ``allow_leak``.

    Args:
        file: State dict saved by `torch.save`; read with ``weights_only=True``.
        model: A model of the same architecture and sizes; its weights are replaced.
        out: The checkpoint to write.

    Raises:
        InputError: The file holds something else, or its names or shapes do not fit.
    """
    state = _flat(load_tensors(file))
    if not isinstance(state, Mapping) or not all(torch.is_tensor(t) for t in state.values()):
        raise InputError(f"{file}: expected a state dict, found {type(state).__name__}")
    load_weights(model, state)
    target = Path(out).expanduser()
    target.parent.mkdir(parents=True, exist_ok=True)
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(model)
    with write_atomically(target) as temporary:
        trainer.save_checkpoint(temporary)


def convert_scores(file: str | Path, out: str | Path) -> None:
    """Convert scores that Qlib saved, such as ``pred.pkl`` of its recorder, to a score table.

    Loading a pickle can execute code. This function loads only the few types that make up a pandas
    table; nevertheless, convert only files that you trust.

    Args:
        file: A pickled DataFrame with a column ``score``, or a Series, indexed by datetime and
            instrument.
        out: The ``.parquet`` file to write, with date, symbol and score.

    Raises:
        InputError: The file holds something else, or the scores are invalid, see
            `alphazoo.data.scores.read_scores`.
    """
    target = Path(out).expanduser()
    if target.suffix != ".parquet":
        raise InputError(f"out must be a .parquet file, got {out}")
    table = load_table(file)
    if isinstance(table, pd.Series):
        table = table.to_frame("score")
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"{file}: expected a pandas table, found {type(table).__name__}")
    try:
        scores = read_scores(table)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    write_table(scores, target)


def _flat(state: object) -> object:
    """Join the state dicts of several networks in a mapping, as those of TRA are saved."""
    if not isinstance(state, Mapping):
        return state
    flat: dict[str, object] = {}
    for name, part in state.items():
        inner = part.items() if isinstance(part, Mapping) else [("", part)]
        flat |= {f"{name}.{key}".rstrip("."): value for key, value in inner}
    return flat


def _halve_a(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Split the parameter "a" of GATs into the halves for the two stocks of a pair."""
    halved = dict(state)
    if "a" in halved:
        source, target = halved.pop("a").chunk(2)
        halved |= {"source": source[None], "target": target[None]}
    return halved


def _turn_kernels(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Reverse the kernels of TCN: our convolution takes the newest day first."""
    return {name: t.flip(-1) if name.endswith("weight_v") else t for name, t in state.items()}


def _join_gates(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join the matrices of SFM's gates into one, transposed as `torch.nn.Linear` expects."""
    joined = dict(state)
    for name, prefix in (("input.weight", "W"), ("input.bias", "b"), ("state.weight", "U")):
        parts = [f"{prefix}_{gate}" for gate in ("i", "ste", "o", "fre", "c")]
        missing = [part for part in parts if part not in joined]
        if missing:
            raise InputError(f"not the weights of this SFM: missing {shorten(missing)}")
        try:
            joined[name] = torch.cat([joined.pop(part).t() for part in parts])
        except RuntimeError as error:
            shapes = shorten(f"{part} {[*state[part].shape]}" for part in parts)
            raise InputError(f"SFM: the shapes do not fit together: {shapes}") from error
    if "W_p" in joined:
        joined["output.weight"] = joined.pop("W_p").t()
    return joined


def _rename(
    state: Mapping[str, Tensor], rules: list[tuple[str, str]]
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors by our names, and the names that match no rule."""
    named: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in state.items():
        for theirs, ours in rules:
            match = re.fullmatch(theirs, name)
            if match:
                if ours:
                    named[match.expand(ours)] = tensor
                break
        else:
            unknown.append(name)
    return named, unknown
