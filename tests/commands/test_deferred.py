"""scipy.signal is loaded when it is used, and is then the module that it is without a command."""

import subprocess
import sys

import pytest

LOADED = "'scipy.signal._signaltools' in sys.modules"
USES = {
    "from scipy.signal import lfilter": "lfilter",
    "import scipy.signal": "scipy.signal.lfilter",
    "import scipy.signal.windows": "scipy.signal.windows.hann",
    "import scipy": "scipy.signal.lfilter",
    "from scipy.signal.windows import hann": "hann",
}


def printed(code: str) -> str:
    code = f"import sys, alphazoo.commands.deferred as d\nd.defer_unused_imports()\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_torchmetrics_does_not_load_it_but_gives_it_a_window() -> None:
    """torchmetrics sets scipy.signal.hamming, which SciPy no longer has."""
    first, *windows = printed(
        f"import lightning; print({LOADED})\n"
        "from scipy import signal; print(*signal.hamming(3), *signal.windows.hamming(3))"
    ).split()
    assert first == "False"
    assert windows[:3] == windows[3:] != []


@pytest.mark.parametrize("use", USES)
def test_it_is_whole_when_it_is_used(use: str) -> None:
    code = f"{use}\n{USES[use]}\nimport scipy.signal as module\n"
    assert printed(f"{code}print({LOADED}, *module.find_peaks([0, 1, 0])[0])") == "True 1"


def test_names_that_it_does_not_have_are_errors() -> None:
    code = "import scipy.signal\ntry: scipy.signal.absent\nexcept AttributeError as e: print(e)"
    assert printed(code) == "module 'scipy.signal' has no attribute 'absent'"
