"""The command ``alphazoo``: train, models, import-qlib, data check, data audit, data export."""

import logging
import os
import sys
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from alphazoo.errors import AlphazooError, InputError, did_you_mean, shorten

SILENCED = (
    ".*LeafSpec.*",  # Lightning about its own use of torch
    ".*does not have many workers.*",  # a day is gathered faster than a worker could send it
    ".*DistributedSampler.*",  # a repeated day counts once, see alphazoo.metrics.ScoreTable
)

COMMANDS = ("train", "models", "import-qlib", "data check", "data audit", "data export")

HELP = """\
usage: alphazoo COMMAND [KEY=VALUE ...]

  train        train a model and score its valid and test days
               alphazoo train model=lstm data=qlib data.path=FOLDER trainer.max_epochs=5
               alphazoo train -m model=lstm,gru seed=1,2,3     every combination
               alphazoo train --help                            all groups and keys
  models       the zoo: each model with its paper and number of parameters
               alphazoo models gats    its equations, what differs from the paper, its settings
  import-qlib  make a checkpoint of the weights that a network of Qlib was saved with
               alphazoo import-qlib weights.pkl model=gats out=gats.ckpt
  data check   what a data source holds and what looks odd in it
               alphazoo data check data=table data.path=FILE
  data audit   whether features look ahead: computed again without the days that follow
               alphazoo data audit data=qlib data.path=FOLDER features=alpha158
  data export  unscaled features and the raw forward return as a table
               alphazoo data export data=qlib data.path=FOLDER from=2017 out=features.parquet

HYDRA_FULL_ERROR=1 shows the traceback of an error.
"""


def main() -> None:
    """Run the command in ``sys.argv``; an expected fault is one message and exit status 1."""
    asked = sys.argv[1:]
    if asked[:1] != ["train"] and {"-h", "--help"} & set(asked):  # those of train are Hydra's
        asked = []
    match asked:
        case [] | ["help", *_]:
            print(HELP, end="")
        case ["train", *arguments]:
            _run(_train, arguments)
        case ["models", *arguments]:
            _run(_models, arguments)
        case ["import-qlib", *arguments]:
            _run(_import_qlib, arguments)
        case ["data", "check", *arguments]:
            _run(_check, arguments)
        case ["data", "audit", *arguments]:
            _run(_audit, arguments)
        case ["data", "export", *arguments]:
            _run(_export, arguments)
        case arguments:
            command = " ".join(arguments[: 1 + (arguments[0] == "data")])
            sys.exit(f"error: unknown command {command!r}; {did_you_mean(command, COMMANDS)}")


def _run(command: Callable[[list[str]], None], arguments: list[str]) -> None:
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        command(arguments)
        return

    from hydra.errors import CompactHydraException
    from omegaconf.errors import OmegaConfBaseException

    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints the traceback itself and exits
    try:
        command(arguments)
    except AlphazooError as error:
        sys.exit(f"error: {error}")
    except (CompactHydraException, OmegaConfBaseException) as error:
        from alphazoo.config import explain

        sys.exit(f"error: {explain(error, arguments)}")
    except OSError as error:
        sys.exit(f"error: {error}")
    finally:
        del os.environ["HYDRA_FULL_ERROR"]


def _train(arguments: list[str]) -> None:
    import hydra

    from alphazoo.config import VERSION_BASE, config_dir

    command_line = sys.argv

    def job(config: Any) -> None:
        sys.argv = command_line  # Lightning starts further processes with it
        from lightning.fabric.utilities.exceptions import MisconfigurationException

        from alphazoo.train import print_figures, train

        logging.getLogger("lightning").handlers.clear()  # the root logger prints already
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        for message in SILENCED:
            warnings.filterwarnings("ignore", message=message)
        try:
            print_figures(train(config), config.folder)
        except MisconfigurationException as error:  # Lightning's word for an unusable setting
            raise InputError(" ".join(str(error).split())) from error

    _own_folder(arguments)
    sys.argv = ["alphazoo train", *arguments]
    hydra.main(version_base=VERSION_BASE, config_path=str(config_dir()), config_name="train")(job)()


def _models(arguments: list[str]) -> None:
    from alphazoo.models import describe_model, describe_zoo

    print(describe_zoo() if not arguments else "\n\n\n".join(map(describe_model, arguments)))


def _import_qlib(arguments: list[str]) -> None:
    from alphazoo.config import compose, instantiate
    from alphazoo.qlib import import_weights

    files = [argument for argument in arguments if "=" not in argument]
    own, rest = _split([a for a in arguments if "=" in a], "out")
    if len(files) != 1 or "out" not in own or not any(a.startswith("model=") for a in rest):
        raise InputError("expected: alphazoo import-qlib FILE model=NAME out=CHECKPOINT")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    model = instantiate(compose(*rest).model)
    import_weights(files[0], model, own["out"])
    count = sum(p.numel() for p in model.parameters())
    print(f"{own['out']}: {type(model).__name__}, {count:,} parameters of {files[0]}")


def _check(arguments: list[str]) -> None:
    from alphazoo.config import instantiate
    from alphazoo.data.check import check_market

    config = _config(arguments)
    lines = check_market(instantiate(config.data.market)())
    width = max(map(len, lines))
    for subject, found in lines.items():
        print(f"{subject:<{width}}  {found}")


def _audit(arguments: list[str]) -> None:
    from alphazoo.config import instantiate
    from alphazoo.data.audit import find_look_ahead
    from alphazoo.data.state import state_columns

    config = _config(arguments)
    features, market = instantiate(config.features), instantiate(config.data.market)()
    found = find_look_ahead(market, features)
    count = f"{len(features.columns)} features"
    if market.indices:
        count += f" and {len(state_columns(market.indices))} columns of the market's state"
    if found:
        columns = shorten(f"{name} (on {shorten(dates, 2)})" for name, dates in found.items())
        raise InputError(f"{len(found)} of {count} look ahead: {columns}")
    print(f"none of {count} changes without the days that follow")


def _export(arguments: list[str]) -> None:
    from alphazoo.config import instantiate
    from alphazoo.data.export import export_features

    own, rest = _split(arguments, "out", "from", "to")
    if "out" not in own:
        raise InputError("expected: alphazoo data export data=... [from=DATE] [to=DATE] out=FILE")
    config = _config(rest)
    count = export_features(
        instantiate(config.data.market)(),
        instantiate(config.features),
        instantiate(config.label),
        own["out"],
        first=own.get("from"),
        last=own.get("to"),
    )
    print(f"{own['out']}: {count:,} rows")


def _config(arguments: list[str]) -> Any:
    """The config of a command that is not Hydra's own, with every value it needs."""
    from alphazoo.config import check_complete, compose

    config = compose(*_own_folder(arguments))
    check_complete(config)
    return config


def _split(arguments: list[str], *names: str) -> tuple[dict[str, str], list[str]]:
    """Arguments ``name=value`` of the command itself, and the others."""
    pairs = [argument.split("=", 1) for argument in arguments]
    own = {pair[0]: pair[-1] for pair in pairs if pair[0] in names}
    return own, [a for a, pair in zip(arguments, pairs, strict=True) if pair[0] not in names]


def _own_folder(arguments: list[str]) -> list[str]:
    """Find the user's modules beside their yaml, in ``--config-dir``; the flag as an override."""
    parts = [part for argument in arguments for part in argument.split("=", 1)]
    for flag, folder in pairwise(parts):
        if flag in ("--config-dir", "-cd"):
            sys.path.insert(0, os.path.abspath(folder))
            rest = [a for a in arguments if a not in (flag, folder, f"{flag}={folder}")]
            return [*rest, f"hydra.searchpath=[file://{os.path.abspath(folder)}]"]
    return arguments
