"""Marks the notebooks that take long as slow."""

import os
from collections.abc import Iterable

import pytest

QUICK = ("quickstart",)

os.environ["ALPHAZOO_CACHE"] = ""  # features are computed anew
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Mark every notebook that is not quick as slow."""
    for item in items:
        if item.path.suffix == ".ipynb" and item.path.stem not in QUICK:
            item.add_marker(pytest.mark.slow)
