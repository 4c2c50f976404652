"""Secrets stay out of the files of a run, which are shared: settings name variables instead."""

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from alphazoo.errors import InputError

VARIABLE = re.compile(r"\$\{oc\.env:\w+\}")
IN_ADDRESS = re.compile(r"//[^/@:\s]*:[^/\s]+@")  # ://user:password@host
SECRET_KEY = re.compile(r"(.*_)?(password|passwd|secret|api_key|access_token|auth_token)")


def refuse_secrets(config: DictConfig, prefix: str = "") -> None:
    """Refuse settings that hold a password or key as text; the message does not show it.

    Args:
        config: A config, or the node of one; interpolations are not resolved.
        prefix: Key of the node.

    Raises:
        InputError: Names the key.
    """
    for key, value in _texts(OmegaConf.to_container(config), prefix):
        text = VARIABLE.sub("", value)
        named = SECRET_KEY.fullmatch(key.rpartition(".")[2].lower()) and text
        if named or IN_ADDRESS.search(text):
            hint = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            raise InputError(
                f"{key} holds a password or key, which the files of the run would show: "
                f"{hint if 'tracking_uri' in key else ''}write ${{oc.env:NAME}} in its place"
            )


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, key)
    elif isinstance(value, str):
        yield key, value
