"""The model zoo: one file per architecture, each with a yaml in ``configs/model``."""

import inspect
import re


def describe_model(name: str) -> str:
    """Return a model card: paper, equations, deviations from the paper, arguments and yaml."""
    from hydra.utils import get_class

    from alphazoo.config import compose, config_dir

    kind = get_class(compose(f"model={name}").model._target_)
    parts = [inspect.getdoc(inspect.getmodule(kind)), inspect.getdoc(kind)]
    parts.append((config_dir() / "model" / f"{name}.yaml").read_text(encoding="utf-8"))
    return "\n\n".join(part.strip() for part in parts if part)


def list_zoo() -> list[tuple[str, str, str, str]]:
    """Return name, parameter count, summary and paper of every model.

    The count is that of the yaml with the default features and the market state of one index.
    """
    from alphazoo.config import compose, config_dir, instantiate

    rows = []
    for file in sorted((config_dir() / "model").glob("*.yaml")):
        model = instantiate(compose(f"model={file.stem}", "data.indices=[MARKET]").model)
        text = inspect.getdoc(inspect.getmodule(model)) or ""
        count = sum(p.numel() for p in model.parameters())
        link = re.search(r"https?://\S+", text)
        rows.append((file.stem, f"{count:,}", text.splitlines()[0], link[0] if link else ""))
    return rows


def describe_zoo() -> str:
    """Return a table of all models: name, parameter count with its yaml, summary and paper."""
    rows = list_zoo()
    header = ("model", "parameters", "what it is", "paper")
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
    return "\n".join(lines)
