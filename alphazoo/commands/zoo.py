"""alphazoo models and import-qlib: what there is, and what comes from elsewhere."""

from alphazoo.commands.arguments import split
from alphazoo.commands.output import be_quiet
from alphazoo.errors import InputError


def models(arguments: list[str]) -> None:
    """Print the zoo, or what there is to know about some models."""
    from alphazoo.models import describe_model, describe_zoo

    print(describe_zoo() if not arguments else "\n\n\n".join(map(describe_model, arguments)))


def import_qlib(arguments: list[str]) -> None:
    """Make a checkpoint of the weights of a network of Qlib, or a score table of its scores."""
    from alphazoo.config import compose, instantiate
    from alphazoo.qlib import convert_scores, import_weights

    files = [argument for argument in arguments if "=" not in argument]
    own, rest = split([a for a in arguments if "=" in a], "out")
    models = [argument for argument in rest if argument.startswith("model=")]
    if len(files) != 1 or "out" not in own or not (models or own["out"].endswith(".parquet")):
        raise InputError(
            "expected: alphazoo import-qlib FILE model=NAME out=CHECKPOINT, or FILE out=x.parquet"
        )
    if not models:
        convert_scores(files[0], own["out"])
        print(f"{own['out']}: the scores of {files[0]}")
        return
    be_quiet()
    model = instantiate(compose(*rest).model)
    import_weights(files[0], model, own["out"])
    count = sum(p.numel() for p in model.parameters())
    print(f"{own['out']}: {type(model).__name__}, {count:,} parameters of {files[0]}")
