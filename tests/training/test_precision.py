"""The hint at bfloat16 is given where a device has instructions for it."""

import logging

import pytest
import torch
from conftest import small_config

from alphazoo.config import instantiate
from alphazoo.training import precision
from alphazoo.training.precision import has_bfloat16, suggest_bfloat16


@pytest.mark.parametrize(
    ("overrides", "fast", "expected"),
    [
        (["model=lstm"], True, True),
        (["model=lstm"], False, False),
        (["model=lstm", "trainer.precision=bf16-mixed"], True, False),
        (["model=lightgbm"], True, False),  # it has no weights to train
    ],
)
def test_the_hint(
    overrides: list[str],
    fast: bool,
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: fast)
    config = small_config(*overrides)
    with caplog.at_level(logging.INFO):
        suggest_bfloat16(instantiate(config.trainer), instantiate(config.model))
    hints = [record.getMessage() for record in caplog.records if "bf16" in record.getMessage()]
    assert hints == expected * ["this CPU may be faster with trainer.precision=bf16-mixed"]


def test_the_processor_is_asked() -> None:
    known = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    assert has_bfloat16(torch.device("cpu")) == known
    assert not has_bfloat16(torch.device("meta"))
