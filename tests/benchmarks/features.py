"""Seconds and memory to prepare the features of a Qlib folder, next to those of pyqlib.

    python tests/benchmarks/features.py FOLDER [FEATURES ...] [--repeat 1] [--qlib]

Preparing means reading, computing and fitting the scaler. Linux only. ``--qlib`` needs pyqlib; its
handlers read, compute and scale the same days with the processors of its benchmarks. Each
measurement runs in a separate process: seconds after the imports, and peak resident memory of the
whole program. The fastest repeat counts.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

HANDLERS = {"alpha158": "Alpha158", "alpha360": "Alpha360"}


def run_ours(folder: str, name: str) -> float:
    from alphazoo import MarketDataModule, compose, instantiate

    start = time.perf_counter()
    config = compose("data=qlib", f"data.path={folder}", f"features={name}")
    data: MarketDataModule = instantiate(config.datamodule)
    data.days("train")
    return time.perf_counter() - start


def run_peer(folder: str, name: str) -> float:
    import qlib
    from qlib.contrib.data import handler

    start = time.perf_counter()
    qlib.init(provider_uri=folder, logging_level=40)
    scale = {
        "class": "RobustZScoreNorm",
        "kwargs": {"fields_group": "feature", "clip_outlier": True},
    }
    steps = [scale, {"class": "Fillna", "kwargs": {"fields_group": "feature"}}]
    getattr(handler, HANDLERS[name])(
        instruments="csi300",
        start_time="2008-01-01",
        end_time="2020-12-31",
        fit_start_time="2008-01-01",
        fit_end_time="2014-12-31",
        infer_processors=steps,
    )
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", help="a Qlib data folder of CSI300")
    parser.add_argument("features", nargs="*", help="default: all")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--qlib", action="store_true", help="also run pyqlib's handlers (minutes)")
    parser.add_argument("--side", choices=["ours", "qlib"], help=argparse.SUPPRESS)
    options = parser.parse_args()

    names = options.features or ["alpha158", "alpha158_seq", "alpha360"]
    if options.side:
        measure = run_ours if options.side == "ours" else run_peer
        seconds = measure(options.folder, names[0])
        usage = (
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        print(json.dumps([seconds, max(used.ru_maxrss for used in usage) / 1e6]))
        return
    print(f"{'features':<16}{'side':<8}{'seconds':>8}{'peak GB':>9}")
    for name in names:
        for side in ("ours", "qlib"):
            if side == "qlib" and not (options.qlib and name in HANDLERS):
                continue
            runs = []
            for _ in range(options.repeat):
                command = [sys.executable, __file__, options.folder, name, "--side", side]
                result = subprocess.run(command, capture_output=True, text=True)
                if result.returncode:
                    sys.exit(result.stderr)
                runs.append(json.loads(result.stdout.splitlines()[-1]))
            seconds, memory = min(runs)
            print(f"{name:<16}{side:<8}{seconds:8.1f}{memory:9.2f}", flush=True)


if __name__ == "__main__":  # pyqlib starts processes that import this file
    main()
