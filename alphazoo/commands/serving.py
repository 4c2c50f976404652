"""alphazoo export: a finished run leaves torch."""

from pathlib import Path

from alphazoo.commands.arguments import split_arguments, take_config_dir, truth
from alphazoo.commands.catalog import expected
from alphazoo.commands.importing import importing
from alphazoo.errors import InputError
from alphazoo.training.quiet import silence_libraries


def export(arguments: list[str]) -> None:
    """Write a run as a model that scores without torch; check its scores and print the result."""
    own, rest = split_arguments(arguments, "export")
    if not {"run", "out"} <= {*own}:
        raise InputError(expected("export"))
    with importing():
        from alphazoo.runs.run import Run
        from alphazoo.serving.export import export_run

    precision = own.get("precision", "float32")
    silence_libraries()
    rest, folders = take_config_dir(rest)
    run = Run.open(own["run"], rest, own=folders, trust=truth(own, "trust"))
    check = export_run(run, Path(own["out"]), kind=own.get("format", "onnx"), precision=precision)
    print(f"{check.days} validation days: largest difference {check.difference:.2g}")
    if precision == "int8":
        print(
            f"rank correlation with float32 {check.correlation:.4f}, "
            f"{check.lowest_correlation:.4f} on the worst day"
        )
        share = check.bytes / check.float32_bytes
        print(f"{check.bytes:,} bytes, {share:.2f} of float32's {check.float32_bytes:,}")
    else:
        print(f"{check.bytes:,} bytes")
    print(f"{check.ms:.1f} ms a day, torch {check.torch_ms:.1f} ms")
    print(own["out"])
