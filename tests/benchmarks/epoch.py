"""An epoch of ours beside one of Qlib's, on the same days, in one run. Needs pyqlib.

    python tests/benchmarks/epoch.py FOLDER lstm gru [--every 5]

Ours: all train days, one per step, then the valid days. Qlib's ``fit`` for each epoch: batches of
800 rows of the train table, then an evaluation of train and valid. Both in float32, with Adam, on
the threads that torch chooses. The table of Qlib's handler is stood in for by our features of the
same days, so that only training is compared.
"""

import argparse
import time
from importlib import import_module

import lightning as L
import pandas as pd
import torch

from alphazoo import MarketDataModule, compose, instantiate

PEERS = {"lstm": "LSTM", "gru": "GRU"}


def table(data: MarketDataModule, segment: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows with a label of a segment as Qlib keeps them: [R, 360] and [R, 1]."""
    features, labels = [], []
    for day in data.days(segment):
        known = day.labels.isfinite()
        features.append(day.features[known].transpose(1, 2).flatten(1))  # field by field
        labels.append(day.labels[known])
    return (
        pd.DataFrame(torch.cat(features).numpy()),
        pd.DataFrame(torch.cat(labels).numpy()[:, None]),
    )


def time_ours(data: MarketDataModule, name: str) -> float:
    model = instantiate(compose(f"model={name}").model)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        num_sanity_val_steps=0,
        gradient_clip_val=3.0,
        gradient_clip_algorithm="value",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    start = time.perf_counter()
    trainer.fit(model, data)
    return time.perf_counter() - start


def time_peer(
    tables: dict[str, tuple[pd.DataFrame, pd.DataFrame]], name: str
) -> tuple[float, float]:
    module = import_module(f"qlib.contrib.model.pytorch_{name}")
    model = getattr(module, PEERS[name])(
        d_feat=6, hidden_size=64, num_layers=2, dropout=0.0, lr=1e-3, batch_size=800, GPU=-1
    )
    start = time.perf_counter()
    model.train_epoch(*tables["train"])
    trained = time.perf_counter()
    model.test_epoch(*tables["train"])
    model.test_epoch(*tables["valid"])
    return trained - start, time.perf_counter() - trained


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", help="a Qlib data folder of CSI300")
    parser.add_argument("models", nargs="+", choices=sorted(PEERS))
    parser.add_argument("--every", type=int, default=1, help="take every so many days")
    options = parser.parse_args()

    data: MarketDataModule = instantiate(
        compose("data=qlib", f"data.path={options.folder}").datamodule
    )
    data.setup()
    for name in ("train", "valid"):
        data.segments[name] = data.segments[name][:: options.every]
    tables = {name: table(data, name) for name in ("train", "valid")}
    rows = {name: len(features) for name, (features, _) in tables.items()}
    print(f"{torch.get_num_threads()} threads, rows {rows}, torch {torch.__version__}")
    print("model   ours s   peer train s   peer evaluation s   ours / peer")
    for name in options.models:
        train, evaluation = time_peer(tables, name)
        ours = time_ours(data, name)
        ratio = ours / (train + evaluation)
        print(f"{name:<6} {ours:7.1f} {train:14.1f} {evaluation:19.1f} {ratio:13.2f}", flush=True)


main()
