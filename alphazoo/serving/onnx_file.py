"""Write a graph as an ONNX file, in float32 or with int8 weights."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn
from torch.export import ExportedProgram

from alphazoo.errors import InputError
from alphazoo.serving.graph import name_of, quiet, refusal

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 20
LIMIT = 2**31 - 2**20  # bytes of a protobuf message
SMALL = 1024  # values of a tensor that is not worth quantising


def check_installed() -> None:
    """Raise an `InputError` unless the libraries of the extra ``export`` are installed."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            import_module(name)
        except ImportError as error:
            raise InputError(
                f"format=onnx needs {name}, which is not installed: pip install 'alphazoo[export]'"
            ) from error


def write_onnx(program: ExportedProgram, module: nn.Module, file: Path) -> None:
    """Write an exported program as ONNX.

    Args:
        program: The program, see `alphazoo.serving.graph.trace`.
        module: What was exported, for messages.
        file: The file.

    Raises:
        InputError: ONNX lacks an operator of the program, or the program is too large.
    """
    import onnx
    import torch
    from onnxscript import optimizer

    tensors = [*program.state_dict.values(), *program.constants.values()]
    size = sum(value.nbytes for value in tensors if isinstance(value, torch.Tensor))
    if size > LIMIT:
        raise InputError(f"the model holds {size:,} bytes; an ONNX file holds at most {LIMIT:,}")
    try:
        with torch.no_grad(), quiet():
            graph = torch.onnx.export(program, dynamo=True, verbose=False, opset_version=OPSET)
            assert graph is not None
            # weights that are slices or products of parameters become plain weights
            optimizer.fold_constants(graph.model, input_size_limit=LIMIT, output_size_limit=LIMIT)
            optimizer.optimize(graph.model)
    except Exception as error:  # the exporter raises any kind
        raise _explain(module, error) from error
    model = graph.model_proto
    _drop_unused(model)
    onnx.save(model, file)


def quantise(file: Path) -> None:
    """Store the weights of an ONNX file as int8.

    ONNX Runtime's dynamic quantisation replaces products by products of integers. Weights of layers
    that it does not know, such as a GRU, are stored as int8 and become float32 when the file is
    loaded.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        quantize_dynamic(file, file, weight_type=QuantType.QInt8, per_channel=True)
    model = onnx.load(file)
    _store_as_int8(model)
    onnx.save(model, file)


def _store_as_int8(model: "ModelProto") -> None:
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    large = [
        tensor
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT and int(np.prod(tensor.dims)) > SMALL
    ]
    nodes = []
    for tensor in large:
        values = numpy_helper.to_array(tensor)
        scale = np.asarray(max(np.abs(values).max(), 1e-30) / 127, dtype=np.float32)
        name = tensor.name
        rounded = np.rint(values / scale).astype(np.int8)
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(rounded, f"{name}.int8"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
        inputs = [f"{name}.int8", f"{name}.scale"]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [name]))
    rest = [*graph.node]
    del graph.node[:]
    graph.node.extend([*nodes, *rest])


def _drop_unused(model: "ModelProto") -> None:
    """Remove inputs that no node reads, and attributes without a value."""
    graphs = [model.graph]
    used = set()
    for graph in graphs:  # grows by the graphs inside of nodes
        for node in graph.node:
            used.update(node.input)
            graphs += [item.g for item in node.attribute if item.HasField("g")]
            for item in [*node.attribute]:
                if item.type == item.INTS and not item.ints:
                    node.attribute.remove(item)
    for value in [*model.graph.input]:
        if value.name not in used:
            model.graph.input.remove(value)


def _explain(module: nn.Module, error: Exception) -> InputError:

    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    lacking = [str(one) for one in chain if "No ONNX function found" in str(one)]
    if lacking:
        name = lacking[-1].partition("OpOverload(op='")[2].partition("'")[0]
        return InputError(
            f"ONNX lacks the operator {name or lacking[-1]}, which {name_of(module)} or its scaler "
            "uses; format=torch does not need it"
        )
    return refusal(module, error)
