"""Products of float32 matrices that are faster on a CPU, and as exact.

Torch computes them with MKL, which runs at half speed on processors of AMD. With
``set_float32_matmul_precision("medium")``, it asks oneDNN, which may round the factors to bfloat16
for it, but does so only where processors have instructions for whole products (AMX).
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache

import torch

WIDE = 32  # columns; below, calling oneDNN takes longer than the product


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
    with _medium_precision():
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
