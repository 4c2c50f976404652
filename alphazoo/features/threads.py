"""Threads of one core each, for parts that do not depend on each other: stocks, days."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def map_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Return the results of a function of each item, computed by as many threads as torch has.

    Each thread computes on one core: the operations of one item are too small to be divided. Modes
    of the calling thread, such as `torch.no_grad`, do not hold in the function.
    """
    n = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,)) as threads:
            return [*threads.map(function, items)]
    finally:
        torch.set_num_threads(n)  # otherwise, new threads would inherit a setting of 1
