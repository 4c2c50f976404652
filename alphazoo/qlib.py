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

RNN = (r"rnn\.(.*)", r"encoder.rnn.\1")
HEAD = (r"fc_out\.(.*)", r"head.\1")
ENCODER = r"transformer_encoder\.layers\.(\d+)\."
TRANSFORMER = [
    (r"feature_layer\.(.*)", r"input.\1"),
    (ENCODER + r"self_attn\.in_proj_(.*)", r"layers.\1.projections.\2"),
    (ENCODER + r"self_attn\.out_proj\.(.*)", r"layers.\1.output.\2"),
    (ENCODER + r"linear1\.(.*)", r"layers.\1.feedforward.0.\2"),
    (ENCODER + r"linear2\.(.*)", r"layers.\1.feedforward.3.\2"),
    (ENCODER + r"(norm[12]\..*)", r"layers.\1.\2"),
    (r"decoder_layer\.(.*)", r"head.\1"),
    (r"encoder_layer\..*|pos_encoder\.pe", ""),  # an unused layer that is only copied; a constant
]

# For each model, names in Qlib's state dict (regular expressions for the whole name) and names in
# ours; an empty name drops a tensor that has no effect. From qlib.contrib.model.pytorch_* of pyqlib
# 0.9.7.
NAMES: dict[str, list[tuple[str, str]]] = {
    "LSTM": [RNN, HEAD],
    "GRU": [RNN, HEAD],
    "ALSTM": [
        (r"net\.fc_in\.(.*)", r"input.\1"),
        RNN,
        (r"att_net\.att_fc_in\.(.*)", r"attention.0.\1"),
        (r"att_net\.att_fc_out\.(.*)", r"attention.3.\1"),
        HEAD,
    ],
    "Transformer": TRANSFORMER,
    "Localformer": [
        *TRANSFORMER,
        (r"transformer_encoder\.conv\.(.*)", r"convolutions.\1"),
        RNN,
    ],
    "TCN": [
        (
            r"tcn\.network\.(\d+)\.(conv[12])\.weight_g",
            r"blocks.\1.\2.parametrizations.weight.original0",
        ),
        (
            r"tcn\.network\.(\d+)\.(conv[12])\.weight_v",
            r"blocks.\1.\2.parametrizations.weight.original1",
        ),
        (r"tcn\.network\.(\d+)\.(conv[12]\.bias)", r"blocks.\1.\2"),
        (r"tcn\.network\.(\d+)\.downsample\.(.*)", r"blocks.\1.skip.\2"),
        (r"tcn\.network\.\d+\.net\..*", ""),  # the same convolutions under a second name
        (r"linear\.(.*)", r"head.\1"),
    ],
    "SFM": [  # after _join_gates
        (r"(input\.weight|input\.bias|state\.weight)", r"\1"),
        (r"U_a", "reader"),
        (r"b_a", "reader_bias"),
        (r"output\.weight", "output.weight"),
        (r"b_p", "output.bias"),
        HEAD,
    ],
    "GATs": [
        RNN,
        (r"transformation\.(.*)", r"transform.\1"),
        (r"(source|target)", r"\1"),  # the halves of "a"
        (r"fc\.(.*)", r"output.\1"),
        HEAD,
    ],
    "HIST": [
        RNN,
        (r"fc_es\.(.*)", r"known.info.\1"),
        (r"fc_es_fore\.(.*)", r"known.score.\1"),
        (r"fc_es_back\.(.*)", r"known.explain.\1"),
        (r"fc_is\.(.*)", r"hidden.info.\1"),
        (r"fc_is_fore\.(.*)", r"hidden.score.\1"),
        (r"fc_is_back\.(.*)", r"hidden.explain.\1"),
        (r"fc_indi\.(.*)", r"own.\1"),
        (r"(fc_[ei]s_middle|fc_indi_fore|fc_out_(es|is|indi))\..*", ""),
        HEAD,
    ],
    "IGMTF": [
        RNN,
        (r"lins\.linear0\.(.*)", r"layers.0.\1"),
        (r"lins\.linear1\.(.*)", r"layers.2.\1"),
        (r"project1\.(.*)", r"query.\1"),
        (r"project2\.(.*)", r"key.\1"),
        (r"fc_output\..*", ""),
        (r"fc_out_pred\.(.*)", r"head.\1"),
    ],
    "KRNN": [
        (r"encoder\.cnn_encoder\.conv\.(.*)", r"encoder.convolution.\1"),
        (r"encoder\.krnn_encoder\.rnn_modules\.(.*)", r"encoder.rnns.\1"),
        (r"out_fc\.(.*)", r"head.\1"),
    ],
    "Sandwich": [
        (r"first_encoder\.cnn_encoder\.conv\.(.*)", r"encoder.0.convolution.\1"),
        (r"first_encoder\.krnn_encoder\.rnn_modules\.(.*)", r"encoder.0.rnns.\1"),
        (r"second_encoder\.cnn_encoder\.conv\.(.*)", r"encoder.1.convolution.\1"),
        (r"second_encoder\.krnn_encoder\.rnn_modules\.(.*)", r"encoder.1.rnns.\1"),
        (r"out_fc\.(.*)", r"head.\1"),
    ],
    "MASTER": [  # of github.com/SJTU-DMTai/MASTER, which is built on Qlib
        (r"feature_gate\.trans\.(.*)", r"gate.\1"),
        (r"layers\.0\.(.*)", r"input.\1"),
        (r"layers\.1\.pe", ""),  # a constant
        *(
            part
            for i, block in ((2, "time"), (3, "stocks"))
            for part in (
                (rf"layers\.{i}\.(norm[12]\..*)", rf"{block}.\1"),
                (rf"layers\.{i}\.qtrans\.(.*)", rf"{block}.query.\1"),
                (rf"layers\.{i}\.ktrans\.(.*)", rf"{block}.key.\1"),
                (rf"layers\.{i}\.vtrans\.(.*)", rf"{block}.value.\1"),
                (rf"layers\.{i}\.ffn\.(.*)", rf"{block}.feedforward.\1"),
            )
        ),
        (r"layers\.4\.trans\.(.*)", r"pooling.\1"),
        (r"layers\.5\.(.*)", r"head.\1"),
    ],
}


def load_weights(model: StockModel, state: Mapping[str, Tensor]) -> None:
    """Copy the weights of Qlib's network of the same architecture into a model.

    Args:
        model: A model of the same sizes.
        state: ``state_dict()`` of ``LSTMModel``, ``GRUModel``, ``ALSTMModel``, ``Transformer`` (of
            both files), ``TCNModel``, ``SFM_Model``, ``GATModel``, ``HISTModel``, ``IGMTFModel``,
            ``KRNNModel`` or ``SandwichModel`` in ``qlib.contrib.model.pytorch_*``, or of
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
    state = load_tensors(file)
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
