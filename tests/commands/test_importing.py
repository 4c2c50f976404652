"""Imports of a command: not collected meanwhile, and not visited afterwards."""

import gc
import subprocess
import sys

import pytest

from alphazoo.commands.importing import importing


def test_collection_pauses_and_goes_on() -> None:
    def fail() -> None:
        with importing():
            paused.append(not gc.isenabled())
            raise ImportError

    paused: list[bool] = []
    with pytest.raises(ImportError):
        fail()
    assert paused == [True]
    assert gc.isenabled()


def test_new_modules_are_frozen_once() -> None:
    """A second job of a process imports nothing; what is left of the first must be collected."""
    code = (
        "import gc\n"
        "from alphazoo.commands.importing import importing\n"
        "def count():\n"
        "    with importing():\n"
        "        import decimal, pathlib\n"
        "    return gc.get_freeze_count()\n"
        "first = count()\n"
        "kept = [[] for _ in range(1000)]\n"
        "print(first > 1000, count() == first)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_training_starts_without_what_it_does_not_use() -> None:
    """scipy.stats and scipy.signal take a second."""
    slow = "{'scipy.stats', 'scipy.signal._signaltools', 'captum', 'lightgbm', 'sklearn'}"
    code = (
        "import sys\nfrom alphazoo.commands.importing import importing\n"
        f"with importing(): import alphazoo.commands.job\nprint({slow} & {{*sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
