"""Seconds and memory of an epoch of every model, next to Qlib's class on the same days.

    python tests/benchmarks/epoch.py FOLDER [MODEL ...] [--every 12] [--repeat 3]
        [--precision bf16-mixed] [--processes 2]

Needs pyqlib, a Qlib data folder of CSI300, and Linux. Both sides run with the published settings
on Alpha360. Qlib's side computes in float32, with the number of threads that torch chooses, and has
no setting for less precision or more processes; ours does the same unless told otherwise. Processes
share the days of a pass and the cores; their peaks of memory are added. "train" is one pass over
the training days with forward, backward and step; "evaluate" is one pass over the validation days,
as in a fit. For IGMTF, both include its memory. Our models take one day per step, Qlib's take their
published batches. The two sides alternate, and the fastest repeat counts. Each side runs in a
separate process; its peak memory excludes the memory held before training. Our features of the
same days replace the table of Qlib's handler, so that only the models are compared. HIST uses
groups of correlated stocks as concepts, and Qlib's HIST is patched to run on a CPU.
"""

import argparse
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch

from alphazoo import MarketDataModule, compose, instantiate
from alphazoo.allocator import KeepFreedMemory

RECURRENT = {"hidden_size": 64, "num_layers": 2, "dropout": 0.0}
GRAPH = {"hidden_size": 64, "num_layers": 2, "base_model": "LSTM"}
ATTENTIVE = {"d_model": 64, "nhead": 2, "num_layers": 2, "dropout": 0.0, "batch_size": 2048}
# class and published settings in qlib.contrib.model.pytorch_*
PEERS: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("LSTM", {**RECURRENT, "batch_size": 800}),
    "gru": ("GRU", {**RECURRENT, "batch_size": 800}),
    "alstm": ("ALSTM", {**RECURRENT, "rnn_type": "GRU", "batch_size": 800}),
    "transformer": ("TransformerModel", ATTENTIVE),
    "localformer": ("LocalformerModel", ATTENTIVE),
    "tcn": ("TCN", {"n_chans": 128, "kernel_size": 3, "num_layers": 5, "batch_size": 2000}),
    "sfm": ("SFM", {"hidden_size": 64, "output_dim": 32, "freq_dim": 25, "batch_size": 1600}),
    "gats": ("GATs", {**GRAPH, "dropout": 0.7}),
    "hist": ("HIST", {**GRAPH, "dropout": 0.0, "metric": "ic"}),
    "igmtf": ("IGMTF", {**GRAPH, "dropout": 0.0, "metric": "ic"}),
}


def read(folder: str, every: int) -> MarketDataModule:
    data: MarketDataModule = instantiate(
        compose("data=qlib", f"data.path={folder}", "data/concepts=correlation").datamodule
    )
    data.setup()
    for name in ("train", "valid"):
        data.segments[name] = data.segments[name][::every]
    return data


def table(data: MarketDataModule, segment: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the labelled rows of a segment in Qlib's layout: [R, 360] and [R, 1]."""
    features, labels, keys = [], [], []
    for day in data.days(segment):
        known = day.labels.isfinite()
        features.append(day.features[known].transpose(1, 2).flatten(1))  # field by field
        labels.append(day.labels[known])
        keys += [(int(day.date), stock) for stock in day.stocks[known].tolist()]
    index = pd.MultiIndex.from_tuples(keys, names=["datetime", "instrument"])
    return (
        pd.DataFrame(torch.cat(features).numpy(), index=index),
        pd.DataFrame(torch.cat(labels).numpy()[:, None], index=index),
    )


def peak(reset: bool = False) -> float:
    """Return the peak of resident memory in GB since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    kilobytes = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert kilobytes is not None
    return int(kilobytes[1]) / 1e6


class Passes(L.Callback):
    """Seconds of the passes over training and validation days, and memory of training, in GB.

    Time begins when all processes are ready.
    """

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        trainer.strategy.barrier()
        self.held, self.start = peak(reset=True), time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.figures["train"] = time.perf_counter() - self.start
        memory = torch.tensor(peak() - self.held)
        self.figures["memory"] = float(trainer.strategy.reduce(memory, reduce_op="sum"))

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        trainer.strategy.barrier()
        self.start = time.perf_counter()

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.figures["evaluate"] = time.perf_counter() - self.start


def run_ours(
    data: MarketDataModule, name: str, precision: str, processes: int
) -> dict[str, float] | None:
    """Return the figures of all processes in the first one, None in the others."""
    model = instantiate(compose(f"experiment=alpha360_{name}").model)
    data.days("train")  # fits the scaler
    passes = Passes()
    trainer = L.Trainer(
        accelerator="cpu",
        strategy="ddp" if processes > 1 else "auto",
        devices=processes,
        precision=precision,
        max_epochs=1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        gradient_clip_val=3.0,
        gradient_clip_algorithm="value",
        logger=False,
        callbacks=[passes, KeepFreedMemory()],  # as in configs/trainer
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)
    trainer.limit_val_batches = 1.0
    trainer.validate(model, data, verbose=False)
    return passes.figures if trainer.is_global_zero else None


def run_peer(data: MarketDataModule, name: str) -> dict[str, float]:
    module = import_module(f"qlib.contrib.model.pytorch_{name}")
    kind, settings = PEERS[name]
    rate = 1e-3 if name in ("lstm", "gru", "alstm", "tcn", "sfm") else 1e-4
    model = getattr(module, kind)(d_feat=6, lr=rate, optimizer="adam", GPU=-1, **settings)
    train, valid = table(data, "train"), table(data, "valid")
    rest: dict[str, list[Any]] = {"train": [], "valid": []}
    if name == "hist":
        torch.get_device = lambda tensor: "cpu"
        concepts = data.days("train").panels.concepts.on(0, torch.arange(len(data.market.symbols)))
        file = Path(tempfile.mkdtemp()) / "concepts.npy"
        np.save(file, concepts.numpy())
        model.stock2concept = str(file)
        rest = {
            segment: [SimpleNamespace(values=rows[0].index.get_level_values(1).to_numpy(copy=True))]
            for segment, rows in (("train", train), ("valid", valid))
        }

    def memory() -> list[Any]:
        return list(model.get_train_hidden(train[0])) if name == "igmtf" else []

    before, start = peak(reset=True), time.perf_counter()
    model.train_epoch(*train, *rest["train"], *memory())
    trained, held = time.perf_counter(), peak()
    model.test_epoch(*valid, *rest["valid"], *memory())
    return {
        "train": trained - start,
        "evaluate": time.perf_counter() - trained,
        "memory": held - before,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", help="a Qlib data folder of CSI300")
    parser.add_argument("models", nargs="*", help="default: all")
    parser.add_argument("--every", type=int, default=1, help="use every n-th day")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--precision", default="32-true", help="of ours; default: 32-true")
    parser.add_argument("--processes", type=int, default=1, help="of ours; default: 1")
    parser.add_argument("--side", choices=["ours", "qlib"], help=argparse.SUPPRESS)
    options = parser.parse_args()

    if options.side:
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        data, name = read(options.folder, options.every), options.models[0]
        if options.side == "qlib":
            print(json.dumps(run_peer(data, name)))
        elif found := run_ours(data, name, options.precision, options.processes):
            print(json.dumps(found))
        return
    days = {name: len(rows) for name, rows in read(options.folder, options.every).segments.items()}
    print(
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, {days['train']} training "
        f"and {days['valid']} validation days; ours: {options.precision}, {options.processes} "
        "process(es); seconds and GB; ratio is Qlib's divided by ours"
    )
    shared = str(max(1, torch.get_num_threads() // options.processes))
    print(f"{'':12}{'train':^24}{'evaluate':^24}{'memory':^24}")
    print("model       " + "    qlib    ours   ratio" * 3)
    for name in options.models or PEERS:
        sides: dict[str, list[dict[str, float]]] = {"qlib": [], "ours": []}
        for side in [*sides] * options.repeat:
            command = [sys.executable, __file__, options.folder, name]
            command += ["--every", str(options.every), "--side", side]
            environment = dict(os.environ)
            if side == "ours":
                command += ["--precision", options.precision]
                command += ["--processes", str(options.processes)]
                environment["OMP_NUM_THREADS"] = shared
            result = subprocess.run(command, capture_output=True, text=True, env=environment)
            if result.returncode:
                sys.exit(result.stderr)
            sides[side].append(json.loads(result.stdout.splitlines()[-1]))
        cells = ""
        for figure in ("train", "evaluate", "memory"):
            theirs, ours = (min(run[figure] for run in runs) for runs in sides.values())
            cells += f"{theirs:8.2f}{ours:8.2f}{theirs / ours:8.2f}"
        print(f"{name:<12}{cells}", flush=True)


main()
