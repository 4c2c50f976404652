"""Probes: the places of a network that `alphazoo explain` looks at.

A network creates a probe for each tensor that it can show, and passes the tensor through it in
``forward``::

    self.attention = Probe("attention", "head", "stock", "other", shares=True)
    ...
    weights = self.attention(logits.softmax(dim=2))  # [heads, N, N]

Without an observer a probe returns its argument. What is shown is the tensor that the score is
computed from, so it cannot differ from it. A tensor that the network does not need, such as the
weights inside a fused attention kernel, is computed only for an observer::

    if self.attention.observed:
        self.attention(...)

A probe that one pass calls several times, such as once for each day of the window, shows the mean.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# Axes and their length: a stock of the day and another one that it looks at (N), a day of the
# window, oldest first (T), a concept (C), a feature (F), a term of a sum, which has a name. The
# others only number what they hold.
AXES = (
    *("stock", "other", "step", "concept", "feature", "term"),
    *("head", "query", "neighbour", "day", "frequency", "factor", "predictor", "class"),
)
KINDS = (
    *("attention", "concepts", "neighbours", "time", "frequencies", "weights"),
    *("gate", "factors", "terms", "predictors", "market"),
)


class Shown(NamedTuple):
    """A tensor that a network shows of one day.

    Attributes:
        kind: One of `KINDS`.
        tensor: The tensor, without its gradient.
        axes: Name of each of its dimensions.
        coordinates: What the entries stand for where an axis does not say it, as integer tensors
            that broadcast to ``tensor``: ``other_date`` (rows of the calendar) and ``other``
            (columns of the universe).
        terms: Names of the terms, if the last axis is ``"term"``.
    """

    kind: str
    tensor: Tensor
    axes: tuple[str, ...]
    coordinates: Mapping[str, Tensor]
    terms: tuple[str, ...] = ()


class Probe(nn.Module):
    """Returns its argument, and lets an observer see or replace it.

    Args:
        kind: What it shows, one of `KINDS`.
        axes: Name of each dimension of the tensor, each one of `AXES`.
        shares: The values along the last axis are shares that sum to 1, and the network uses what
            the probe returns, so that equal shares can take their place.
        terms: Names along the last axis, ``"term"``.

    Raises:
        ValueError: The kind or an axis is unknown.
    """

    def __init__(
        self, kind: str, *axes: str, shares: bool = False, terms: Sequence[str] = ()
    ) -> None:
        super().__init__()
        if kind not in KINDS or not set(axes) <= set(AXES):
            raise ValueError(f"kinds are {KINDS} and axes {AXES}, got {kind!r} and {axes}")
        self.kind = kind
        self.axes = axes
        self.shares = shares
        self.terms = tuple(terms)
        self.n_rows: int | None = None  # those shown, see `show_rows`

    @property
    def observed(self) -> bool:
        """Whether there is an observer."""
        return bool(self._forward_hooks)

    def forward(self, values: Tensor, **coordinates: Tensor) -> Tensor:
        """Return ``values``, or what the observer returns instead."""
        return values


def find_probes(network: nn.Module) -> dict[str, Probe]:
    """Return the probes of a network by their names, such as ``"layers.0.time_attention"``."""
    return {name: part for name, part in network.named_modules() if isinstance(part, Probe)}


Observer = Callable[[str, Shown], Tensor | None]


@contextmanager
def observe(network: nn.Module, observer: Observer, *kinds: str) -> Iterator[None]:
    """Call an observer with everything that a network shows.

    Args:
        network: The network.
        observer: Gets the name of the probe and what it shows; a tensor that it returns takes the
            place of the values in the network.
        kinds: Only probes of these kinds; by default all.
    """

    def attach(name: str, probe: Probe) -> Any:
        def hook(_: nn.Module, given: tuple[Tensor], names: dict[str, Tensor], out: Tensor) -> Any:
            rows = out if probe.n_rows is None else out[: probe.n_rows]
            shown = Shown(probe.kind, rows.detach(), probe.axes, names, probe.terms)
            other = observer(name, shown)
            if other is None or rows is out:
                return other
            return torch.cat([other, out[len(rows) :]])

        return probe.register_forward_hook(hook, with_kwargs=True)

    with ExitStack() as attached:
        for name, probe in find_probes(network).items():
            if not kinds or probe.kind in kinds:
                attached.callback(attach(name, probe).remove)
        yield


@contextmanager
def show_rows(network: nn.Module, n_rows: int) -> Iterator[None]:
    """Show only the first rows within a context; the others belong to no stock."""
    probes = [*find_probes(network).values()]
    for probe in probes:
        probe.n_rows = n_rows
    try:
        yield
    finally:
        for probe in probes:
            probe.n_rows = None


@contextmanager
def equal_shares(network: nn.Module) -> Iterator[None]:
    """Replace all shares by equal ones, 1 / n over those n that are above 0."""

    def flatten(name: str, shown: Shown) -> Tensor | None:
        if not probes[name].shares:
            return None
        used = (shown.tensor > 0).to(shown.tensor.dtype)
        flat: Tensor = used / used.sum(dim=-1, keepdim=True).clamp_min(1)
        return flat

    probes = find_probes(network)
    with observe(network, flatten):
        yield


@torch.no_grad()
def show(network: nn.Module, *inputs: Any, kinds: tuple[str, ...] = ()) -> dict[str, Shown]:
    """Return what a network shows for some inputs, by the names of its probes."""
    found: dict[str, Shown] = {}
    calls: Counter[str] = Counter()

    def collect(name: str, shown: Shown) -> None:
        calls[name] += 1
        if calls[name] == 1:
            found[name] = shown
        else:  # the mean so far
            mean = found[name].tensor
            mean = mean + (shown.tensor - mean) / calls[name]
            found[name] = shown._replace(tensor=mean)

    with observe(network, collect, *kinds):
        network(*inputs)
    return found
