"""alphazoo models and import-qlib: list the models, and import files of Qlib."""

from alphazoo.commands.arguments import compose_config, split_arguments, take_config_dir
from alphazoo.commands.catalog import expected
from alphazoo.commands.importing import importing
from alphazoo.errors import InputError
from alphazoo.training.quiet import silence_libraries


def models(arguments: list[str]) -> None:
    """Print a list of all models, or a description of some."""
    with importing():
        from alphazoo.models import describe_model, describe_zoo

    print(describe_zoo() if not arguments else "\n\n\n".join(map(describe_model, arguments)))


def import_qlib(arguments: list[str]) -> None:
    """Convert weights of Qlib to a checkpoint, or its scores to a score table."""
    with importing():
        from alphazoo.config import instantiate
        from alphazoo.qlib import convert_scores, import_weights

    given, folders = take_config_dir(arguments)
    files = [argument for argument in given if "=" not in argument]
    own, rest = split_arguments([a for a in given if "=" in a], "import-qlib")
    models = [argument for argument in rest if argument.startswith("model=")]
    if len(files) != 1 or "out" not in own or not (models or own["out"].endswith(".parquet")):
        raise InputError(expected("import-qlib"))
    if not models:
        convert_scores(files[0], own["out"])
        print(f"{own['out']}: scores of {files[0]}")
        return
    silence_libraries()
    own_yaml = [f"--config-dir={folder}" for folder in folders]
    model = instantiate(compose_config([*rest, *own_yaml], "model").model)
    import_weights(files[0], model, own["out"])
    count = sum(p.numel() for p in model.parameters())
    print(f"{own['out']}: {type(model).__name__}, {count:,} parameters of {files[0]}")
