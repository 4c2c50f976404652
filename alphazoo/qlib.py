"""What a Qlib user brings along: weights of its networks."""

import re
from collections.abc import Mapping

from torch import Tensor

from alphazoo.errors import InputError, shorten
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
    (r"encoder_layer\..*|pos_encoder\.pe", ""),  # a prototype that no step uses; a constant
]

# Names in Qlib's state dict (whole, as regular expressions) and ours; an empty one is known to be
# dead. From qlib.contrib.model.pytorch_* of pyqlib 0.9.7.
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
    "GATs": [
        RNN,
        (r"transformation\.(.*)", r"transform.\1"),
        (r"(source|target)", r"\1"),  # the halves of "a"
        (r"fc\.(.*)", r"output.\1"),
        HEAD,
    ],
}


def load_weights(model: StockModel, state: Mapping[str, Tensor]) -> None:
    """Fill a model with the weights of Qlib's network of the same architecture.

    Args:
        model: Of the same sizes.
        state: ``state_dict()`` of ``LSTMModel``, ``GRUModel``, ``ALSTMModel``, ``Transformer`` (of
            both files), ``TCNModel`` or ``GATModel`` in ``qlib.contrib.model.pytorch_*``.

    Raises:
        InputError: A name is missing, unknown, or belongs to a tensor of another shape.
    """
    kind = type(model).__name__
    if kind not in NAMES:
        raise InputError(f"no names of Qlib are known for {kind}; there are {', '.join(NAMES)}")
    if kind == "GATs" and "a" in state:
        source, target = state["a"].chunk(2)
        state = {name: tensor for name, tensor in state.items() if name != "a"}
        state |= {"source": source[None], "target": target[None]}
    if kind == "TCN":  # ours convolves newest day first
        state = {name: t.flip(-1) if name.endswith("weight_v") else t for name, t in state.items()}
    named, unknown = _rename(state, NAMES[kind])
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


def _rename(
    state: Mapping[str, Tensor], rules: list[tuple[str, str]]
) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors by our names, and the names that no rule knows."""
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
