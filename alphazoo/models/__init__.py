"""The zoo: one file per architecture; `configs/model` has a yaml for each."""

import inspect
import re


def describe_model(name: str) -> str:
    """The card of a model: paper, equations, differences and arguments, and its yaml."""
    from hydra.utils import get_class

    from alphazoo.config import compose, config_dir

    kind = get_class(compose(f"model={name}").model._target_)
    parts = [inspect.getdoc(inspect.getmodule(kind)), inspect.getdoc(kind)]
    parts.append((config_dir() / "model" / f"{name}.yaml").read_text())
    return "\n\n".join(part.strip() for part in parts if part)


def describe_zoo() -> str:
    """A table of all models: name, parameters with their yaml, first line and paper of the file."""
    from alphazoo.config import compose, config_dir, instantiate

    rows = []
    for file in sorted((config_dir() / "model").glob("*.yaml")):
        model = instantiate(compose(f"model={file.stem}").model)
        text = inspect.getdoc(inspect.getmodule(model)) or ""
        count = sum(p.numel() for p in model.parameters())
        link = re.search(r"https?://\S+", text)
        rows.append((file.stem, f"{count:,}", text.splitlines()[0], link[0] if link else ""))
    header = ("model", "parameters", "what it is", "paper")
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
    return "\n".join(lines)
