"""Checkpoints with a digest of their content, so that damaged weights are never used."""

import hashlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alphazoo.errors import InputError
from alphazoo.files import load_tensors, write_atomically

ABOUT, DIGEST = "alphazoo", "digest"


def write_checkpoint(checkpoint: Mapping[str, Any], file: Path) -> None:
    """Write a checkpoint with a digest of its content; create its folder."""
    about = checkpoint.get(ABOUT)
    if isinstance(about, Mapping):
        checkpoint = {**checkpoint, ABOUT: {**about, DIGEST: content_digest(checkpoint)}}
    content = io.BytesIO()  # torch would not report a full disk as such
    torch.save(checkpoint, content)
    file.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(file) as temporary:
        temporary.write_bytes(content.getbuffer())


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint that this package wrote, and verify the digest of its content.

    A checkpoint that a Trainer wrote without the plugin of this package has no digest.

    Raises:
        InputError: The file does not exist, is damaged or is no such checkpoint.
    """
    checkpoint = load_tensors(path)
    if not isinstance(checkpoint, Mapping) or ABOUT not in checkpoint:
        raise InputError(f"{path} is not a checkpoint of alphazoo")
    about, state = checkpoint[ABOUT], checkpoint.get("state_dict")
    known = isinstance(about, Mapping) and isinstance(about.get("model"), str)
    if not known or not isinstance(state, Mapping):
        raise InputError(f"{path} is damaged: it lacks the name of its model or its weights")
    if DIGEST in about and about[DIGEST] != content_digest(checkpoint):
        raise InputError(f"{path} is damaged: its content does not have the digest that it states")
    return dict(checkpoint)


def stated_digest(checkpoint: Mapping[str, Any]) -> str:
    """Return the digest that a checkpoint states, by which scores and exports name it.

    It is computed for a checkpoint that states none.
    """
    return str(checkpoint[ABOUT].get(DIGEST) or content_digest(checkpoint))


def content_digest(checkpoint: Mapping[str, Any]) -> str:
    """Return a digest of all values of a checkpoint but the digest itself."""
    digest = hashlib.blake2b(digest_size=16)
    about = {name: value for name, value in checkpoint[ABOUT].items() if name != DIGEST}
    for part in _parts({**checkpoint, ABOUT: about}):
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any) -> Iterable[bytes]:
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        yield f"{plain.dtype} {[*plain.shape]};".encode()
        yield plain.flatten().view(torch.uint8).numpy().tobytes()
    elif isinstance(value, Mapping):
        yield f"{len(value)} pairs;".encode()
        for key, child in value.items():
            yield f"{key!r}:".encode()
            yield from _parts(child)
    elif isinstance(value, list | tuple):
        yield f"{len(value)} items;".encode()
        for child in value:
            yield from _parts(child)
    else:
        yield f"{value!r};".encode()
