"""Products of matrices on a CPU: in which precision, and by which library.

Torch computes those of float32 with MKL, which runs at half speed on processors of AMD. With
``set_float32_matmul_precision("medium")``, it asks oneDNN, which may round the factors to bfloat16;
one product shows whether it does.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache

import torch
from torch import Tensor

WIDE = 32  # columns; below, calling oneDNN takes longer than the product


def find_factor_type(x: Tensor) -> torch.dtype | None:
    """Return the precision of factors in layers of our own; None where torch's must compute.

    It is autocast's, or float32. Torch's layers compute on other devices, in other precisions, and
    while a model is exported: a format has its layers, but not our loops.

    Args:
        x: Input of the layer.
    """
    if torch.compiler.is_exporting() or x.device.type != "cpu":
        return None
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return x.dtype if x.dtype == torch.float32 else None


@contextmanager
def onednn_products(width: int) -> Iterator[None]:
    """Let oneDNN compute products of float32 matrices on a CPU, unless it rounds their factors.

    Args:
        width: Columns of the smaller factors; narrow ones remain with MKL.
    """
    with _medium_precision() if width >= WIDE and is_exact() else nullcontext():
        yield


@cache
def is_exact() -> bool:
    """Whether oneDNN's products have the precision of float32, tried with one of them."""
    a, b = torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", enabled=False), _medium_precision():
        product = a @ b
    exact = a.double() @ b.double()
    return bool((product - exact).norm() < 1e-5 * exact.norm())


@contextmanager
def _medium_precision() -> Iterator[None]:
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
