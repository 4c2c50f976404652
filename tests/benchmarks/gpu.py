"""Training and scoring speed of every model on a device, and what bounds it.

    python tests/benchmarks/gpu.py [MODEL ...] [--days 1 4 16] [--precision float32 tf32 bf16]
        [--stocks 265] [--steps 20] [--epoch 1700] [--seconds 420] [--out gpu.csv]

Days are random numbers of Alpha360's shape on the device, so that only models are measured. "days"
is the number of days per launch: a model that scores each stock by itself takes the rows of all of
them in one call, which gives the same scores; a model that compares stocks takes one day after the
other and makes one step for all. "epoch" is the time of a training epoch of ``--epoch`` days, that
of CSI300's training segment. "busy" is the share of a training step in which the device computes:
where it is far below 1, the model waits for launches, and larger steps or CUDA graphs help. On a
CPU it is nan. "GB" is the peak of the device's memory.

The program stops before ``--seconds`` have passed; the same command goes on with the rows that
``--out`` does not have yet.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from alphazoo import StockModel, compose, instantiate
from alphazoo.config import config_dir
from alphazoo.data.days import DayBatch

KEY = ["model", "precision", "days"]
CONCEPTS, MEMORY_DAYS = 30, 20
NO_NETWORK = ("lightgbm",)


def networks() -> list[str]:
    found = (file.stem for file in (config_dir() / "model").glob("*.yaml"))
    return sorted(name for name in found if name not in NO_NETWORK)


def make_days(count: int, stocks: int, n_market: int, device: torch.device) -> list[DayBatch]:
    """Days of a little more or fewer stocks each."""
    generator = torch.Generator().manual_seed(0)
    days = []
    for index in range(count):
        size = stocks - 2 * (index % 4)
        concepts = (torch.rand(size, CONCEPTS, generator=generator) < 0.1).float()
        concepts[:, 0] = 1.0
        day = DayBatch(
            features=torch.randn(60, size, 6, generator=generator).transpose(0, 1),
            labels=torch.randn(size, generator=generator),
            returns=torch.randn(size, generator=generator),
            stocks=torch.arange(size),
            concepts=concepts,
            date=torch.tensor(index),
            market=torch.randn(n_market, generator=generator),
        )
        days.append(DayBatch(*(part.to(device) for part in day)))
    return days


def join(days: list[DayBatch]) -> DayBatch:
    """All rows as if they were one day."""
    features = torch.cat([day.features.transpose(0, 1) for day in days], dim=1).transpose(0, 1)
    rows = zip(*(day[1:5] for day in days), strict=True)
    return DayBatch(features, *(torch.cat(part) for part in rows), days[0].date, days[0].market)


@torch.no_grad()
def scores_stocks_alone(model: StockModel, day: DayBatch) -> bool:
    """Whether a stock's score does not depend on the other stocks."""
    half = len(day.stocks) // 2
    first = day._replace(**{name: getattr(day, name)[:half] for name in day._fields[:5]})
    return torch.allclose(model(first), model(day)[:half], rtol=1e-3, atol=1e-5)


def seconds(step: Callable[[], object], steps: int, device: torch.device) -> float:
    """Mean time of a step after three others."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        step()
    wait()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    wait()
    return (time.perf_counter() - start) / steps


def busy_seconds(step: Callable[[], object], device: torch.device) -> float:
    """Time that the device computes in a step."""
    if device.type != "cuda":
        return float("nan")
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        step()
        torch.cuda.synchronize()
    return sum(event.self_device_time_total for event in found.key_averages()) / 1e6


def measure(
    name: str, precision: str, days: int, device: torch.device, options: argparse.Namespace
) -> dict[str, object]:
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    stocks = options.stocks
    settings = [f"data.n_stocks={stocks}", "data.indices=[MARKET]"]
    config = compose(f"model={name}", *settings).model
    model: StockModel = instantiate(config).to(device)
    n_market = config.get("n_market", 0)
    batch = make_days(days, stocks, n_market, device)
    model.eval().build_memory(make_days(MEMORY_DAYS, stocks, n_market, device))
    alone = scores_stocks_alone(model, batch[0])
    launches = [join(batch)] if alone else batch
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6)

    def call(function: Callable[[DayBatch], Tensor]) -> Iterator[Tensor]:
        for day in launches:
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                found = function(day)
            yield found

    def train() -> None:
        for loss in call(model.loss):
            (loss / len(launches)).backward()
        optimizer.step()
        optimizer.zero_grad()

    @torch.inference_mode()
    def score() -> None:
        for _ in call(model):
            pass

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    model.train()
    step = seconds(train, options.steps, device)
    busy = busy_seconds(train, device) / step
    memory = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else float("nan")
    model.eval()
    return {
        "model": name,
        "precision": precision,
        "days": days,
        "joined": alone,
        "train ms/day": 1e3 * step / days,
        "score ms/day": 1e3 * seconds(score, options.steps, device) / days,
        "epoch s": step / days * options.epoch,
        "busy": busy,
        "GB": memory,
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="*", help="default: all networks")
    parser.add_argument("--days", nargs="+", type=int, default=[1, 4, 16])
    choices = ("float32", "tf32", "bf16")
    parser.add_argument("--precision", nargs="+", choices=choices, default=choices)
    parser.add_argument("--stocks", type=int, default=265)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--epoch", type=int, default=1700)
    parser.add_argument("--seconds", type=float, default=420)
    parser.add_argument("--out", type=Path, default=Path("gpu.csv"))
    return parser.parse_args()


def main() -> None:
    options = parse()
    end = time.monotonic() + options.seconds
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, {options.stocks} stocks", flush=True)
    table = pd.read_csv(options.out) if options.out.is_file() else pd.DataFrame(columns=KEY)
    done = set(table[KEY].itertuples(index=False, name=None))
    for key in product(options.models or networks(), options.precision, options.days):
        if key in done:
            continue
        if time.monotonic() > end:
            print("out of time: the same command goes on")
            break
        row = pd.DataFrame([measure(*key, device, options)])
        table = row if table.empty else pd.concat([table, row], ignore_index=True)
        table.to_csv(options.out, index=False)
        print(row.to_string(index=False, header=len(table) == 1, float_format="%.3f"), flush=True)
    torch.set_float32_matmul_precision("highest")
    print(table.to_string(index=False, float_format="%.3f"))


if __name__ == "__main__":
    main()
