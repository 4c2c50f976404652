"""Products by oneDNN are as exact as those by MKL, and change nothing outside of them."""

import pytest
import torch

from alphazoo.models import products
from alphazoo.models.products import WIDE, is_exact, onednn_products


def test_products_are_as_exact_as_before_and_the_precision_is_put_back() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(2, 100, 100)
    precision = torch.get_float32_matmul_precision()
    with onednn_products(WIDE):
        inside, product = torch.get_float32_matmul_precision(), a @ b
    assert inside == ("medium" if is_exact() else precision)
    assert torch.get_float32_matmul_precision() == precision
    torch.testing.assert_close(product.double(), a.double() @ b.double(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("width", "exact"), [(WIDE - 1, True), (WIDE, False)])
def test_narrow_or_rounded_products_stay_as_they_are(
    width: int, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "is_exact", lambda: exact)
    precision = torch.get_float32_matmul_precision()
    with onednn_products(width):
        assert torch.get_float32_matmul_precision() == precision


def test_autocast_does_not_change_which_library_is_asked() -> None:
    is_exact.cache_clear()
    with torch.autocast("cpu", torch.bfloat16):
        found = is_exact()
    is_exact.cache_clear()
    assert found == is_exact()
