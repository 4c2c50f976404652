"""Seeded mutations of bytes, and a limit on the time that reading them takes."""

import copy
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

TOKENS = (
    *(b"", b",", b"\n", b"\x00", b"\xff\xfe", b'"', b"{", b"]", b"null", b"true", b"-1", b"1e400"),
    *(b"nan", b"2015-13-40", b"&a [*a]", b"${oc.env:HOME}", b"9" * 400, "股".encode(), b"!!python"),
)


def mutate(content: bytes, draw: random.Random) -> bytes:
    """Change a few places: bits, bytes, a cut, an insertion, a repetition or a token."""
    mutated = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 8))):
        at = draw.randrange(len(mutated) + 1)
        stop = min(len(mutated), at + draw.choice((1, 2, 8, 64)))
        kind = draw.randrange(6)
        if kind == 0 and at < len(mutated):
            mutated[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            mutated[at:stop] = draw.randbytes(stop - at)
        elif kind == 2:
            del mutated[at:stop]
        elif kind == 3:
            mutated[at:at] = mutated[at:stop] * draw.choice((1, 3))
        elif kind == 4:
            mutated[at:stop] = draw.choice(TOKENS)
        else:
            del mutated[at:]
    return bytes(mutated)


VALUES: tuple[Any, ...] = (None, True, -1, 3, 0.5, 1e308, "", "x", [], [1, "a"], {}, {"a": 1})


def retype(content: Any, draw: random.Random) -> Any:
    """Replace or remove one node of nested dictionaries and lists by a value of another type."""
    changed = copy.deepcopy(content)
    node = changed
    while True:
        keys = [*node] if isinstance(node, dict) else [*range(len(node))]
        key = draw.choice(keys)
        if isinstance(node[key], dict | list) and node[key] and draw.random() < 0.8:
            node = node[key]
            continue
        if draw.random() < 0.2:
            del node[key]
        else:
            node[key] = draw.choice(VALUES)
        return changed


@contextmanager
def limit(seconds: int) -> Iterator[None]:
    """Raise a TimeoutError in code that does not return in time."""

    def stop(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"no answer within {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
